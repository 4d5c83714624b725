/* start.exe CODE LINE: runs the command line that the file LINE holds (UTF-8), word for word, and writes its exit code to
   the file CODE, whole: Linux sees eight bits of it only. 9999 and the error in CODE's second line: it could not be started.
   A part of the tests' PCs: it is never shipped. */
#include <windows.h>
#include <stdio.h>
#include <stdlib.h>

#define MOST 32768

static int answer(const wchar_t *path, unsigned long code, unsigned long error)
{
    FILE *file = _wfopen(path, L"wb");
    if (!file) return 2;
    fprintf(file, "%lu\n%lu\n", code, error);
    return fclose(file) ? 2 : 0;
}

int wmain(int count, wchar_t **words)
{
    static char text[MOST * 3];
    static wchar_t line[MOST];
    if (count != 3) return 2;
    FILE *file = _wfopen(words[2], L"rb");
    if (!file) return 2;
    size_t length = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    if (!MultiByteToWideChar(CP_UTF8, 0, text, (int)length + 1, line, MOST)) return 2;

    STARTUPINFOW how = { .cb = sizeof how, .dwFlags = STARTF_USESTDHANDLES };
    how.hStdInput = GetStdHandle(STD_INPUT_HANDLE);
    how.hStdOutput = GetStdHandle(STD_OUTPUT_HANDLE);
    how.hStdError = GetStdHandle(STD_ERROR_HANDLE);
    PROCESS_INFORMATION made;
    if (!CreateProcessW(NULL, line, NULL, NULL, TRUE, 0, NULL, NULL, &how, &made)) return answer(words[1], 9999, GetLastError());
    DWORD code = 0;
    WaitForSingleObject(made.hProcess, INFINITE);
    if (!GetExitCodeProcess(made.hProcess, &code)) return 2;
    return answer(words[1], code, 0);
}
