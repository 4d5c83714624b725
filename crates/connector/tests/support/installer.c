/* What the tests' Windows packages install: as installer it does what the real one does, in a few lines; as launcher it starts
   the connector that it has installed. */
#ifndef UNICODE
#define UNICODE
#endif
#ifndef _UNICODE
#define _UNICODE
#endif
#include <windows.h>
#include <stdio.h>
#include <wchar.h>

static void below(wchar_t *out, const wchar_t *root, const wchar_t *rest) { swprintf(out, 1024, L"%ls\\%ls", root, rest); }

static int copy(const wchar_t *from, const wchar_t *root, const wchar_t *rest) {
    wchar_t to[1024];
    below(to, root, rest);
    for (wchar_t *c = to + wcslen(root) + 1; (c = wcschr(c, L'\\')); c++) {
        *c = 0;
        CreateDirectoryW(to, NULL);
        *c = L'\\';
    }
    return CopyFileW(from, to, FALSE);
}

static int write(const wchar_t *root, const wchar_t *rest, const char *how, const char *text) {
    wchar_t path[1024], mode[4] = {how[0], 0};
    below(path, root, rest);
    FILE *file = _wfopen(path, mode);
    if (!file) return 0;
    fputs(text, file);
    fclose(file);
    return 1;
}

int wmain(int argc, wchar_t **argv) {
    wchar_t own[1024], path[1024];
    GetModuleFileNameW(NULL, own, 1024);
    if (argc == 2 && !wcscmp(argv[1], L"--version")) return 0;
    if (argc == 4 && !wcscmp(argv[1], L"install") && !wcscmp(argv[2], L"--root")) {
        /* <folder>\bin\lockstep-updater.exe */
        wchar_t folder[1024];
        wcscpy(folder, own);
        *wcsrchr(folder, L'\\') = 0;
        *wcsrchr(folder, L'\\') = 0;
        const wchar_t *parts[] = {L"site.json", L"root.json", L"payload\\metadata\\timestamp.json"};
        for (int i = 0; i < 3; i++) {
            below(path, folder, parts[i]);
            if (GetFileAttributesW(path) == INVALID_FILE_ATTRIBUTES) return 3;
        }
        wchar_t site[1024], root[1024];
        below(site, folder, L"site.json");
        below(root, folder, L"root.json");
        below(path, argv[3], L"program.exe");
        return copy(site, argv[3], L"etc\\lockstep\\site.json") && copy(root, argv[3], L"etc\\lockstep\\root.json")
            && copy(own, argv[3], L"opt\\lockstep\\launcher\\lockstep-launcher.exe")
            && copy(path, argv[3], L"opt\\lockstep\\connector\\versions\\7.3.0\\bin\\lockstep-connector.exe")
            && write(argv[3], L"opt\\lockstep\\connector\\current", "w", "7.3.0\n")
            && write(argv[3], L"installed.txt", "a", "installed\n") ? 0 : 4;
    }
    if (argc > 4 && !wcscmp(argv[1], L"--root") && !wcscmp(argv[3], L"connector")) {
        wchar_t line[4096];
        swprintf(line, 4096, L"\"%ls\\opt\\lockstep\\connector\\versions\\7.3.0\\bin\\lockstep-connector.exe\"", argv[2]);
        for (int i = 5; i < argc; i++) {
            wcscat(line, L" \"");
            wcscat(line, argv[i]);
            wcscat(line, L"\"");
        }
        STARTUPINFOW start = {sizeof start};
        PROCESS_INFORMATION process;
        if (!CreateProcessW(NULL, line, NULL, NULL, FALSE, 0, NULL, NULL, &start, &process)) return 5;
        WaitForSingleObject(process.hProcess, INFINITE);
        return 0;
    }
    return 2;
}
