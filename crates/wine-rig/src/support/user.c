/* user.exe PROGRAM WORDS…: runs a program as somebody without an administrator's rights would, and ends with its exit code. Wine
   knows no such user and never asks anybody, so consent.dll goes into the program first: see there.
   A part of the tests' PCs: it is never shipped. */
#include <windows.h>
#include <stdio.h>
#include <wchar.h>

#define CONSENT L"C:\\windows\\system32\\lockstep-rig-consent.dll"

static int failed(const char *what)
{
    fprintf(stderr, "lockstep-rig-user: %s: error %lu\n", what, GetLastError());
    return 2;
}

/* What follows our own name on the command line. */
static wchar_t *rest(wchar_t *line)
{
    int quoted = 0;
    for (; *line && (quoted || *line != L' '); line++) quoted ^= *line == L'"';
    while (*line == L' ') line++;
    return line;
}

static int put_in(HANDLE process)
{
    void *there = VirtualAllocEx(process, NULL, sizeof CONSENT, MEM_COMMIT, PAGE_READWRITE);
    if (!there || !WriteProcessMemory(process, there, CONSENT, sizeof CONSENT, NULL)) return failed("its memory");
    HANDLE thread = CreateRemoteThread(process, NULL, 0, (LPTHREAD_START_ROUTINE)(void *)LoadLibraryW, there, 0, NULL);
    if (!thread) return failed("a thread in it");
    DWORD loaded = 0;
    WaitForSingleObject(thread, INFINITE);
    if (!GetExitCodeThread(thread, &loaded) || !loaded) return failed("consent.dll");
    return 0;
}

int wmain(void)
{
    STARTUPINFOW how = { .cb = sizeof how, .dwFlags = STARTF_USESTDHANDLES };
    how.hStdInput = GetStdHandle(STD_INPUT_HANDLE);
    how.hStdOutput = GetStdHandle(STD_OUTPUT_HANDLE);
    how.hStdError = GetStdHandle(STD_ERROR_HANDLE);
    PROCESS_INFORMATION made;
    if (!CreateProcessW(NULL, rest(GetCommandLineW()), NULL, NULL, TRUE, CREATE_SUSPENDED, NULL, NULL, &how, &made)) return failed("starting it");
    if (put_in(made.hProcess)) { TerminateProcess(made.hProcess, 2); return 2; }
    ResumeThread(made.hThread);
    DWORD code = 2;
    WaitForSingleObject(made.hProcess, INFINITE);
    GetExitCodeProcess(made.hProcess, &code);
    return (int)code;
}
