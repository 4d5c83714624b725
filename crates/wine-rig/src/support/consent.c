/* consent.dll: User Account Control, and the person who sits there. In the program that it is loaded into,
   - the user has no administrator's rights (TokenElevation is 0), which Wine's user has;
   - a question in a box is answered with OK;
   - ShellExecuteExW with the verb runas is answered as the file lockstep-rig-answer.txt in the PC's temporary folder says: "yes" goes on to Wine's
     own call, which asks nobody; anything else is what Windows does when the prompt is answered with no: FALSE, ERROR_CANCELLED.
   What was asked, word for word, is a line in lockstep-rig-asked.txt beside it.
   A part of the tests' PCs: it is never shipped. */
#include <windows.h>
#include <shellapi.h>
#include <stdio.h>
#include <string.h>
#include <wchar.h>

#define FOLDER L"C:\\windows\\temp\\"

static BOOL (WINAPI *real_execute)(SHELLEXECUTEINFOW *);
static BOOL (WINAPI *real_token)(HANDLE, TOKEN_INFORMATION_CLASS, void *, DWORD, DWORD *);

static void note(const wchar_t *line)
{
    char text[8192];
    int length = WideCharToMultiByte(CP_UTF8, 0, line, -1, text, sizeof text, NULL, NULL);
    for (char *c = text; *c; c++) if (*c == '\r' || *c == '\n') *c = ' ';
    FILE *file = _wfopen(FOLDER L"lockstep-rig-asked.txt", L"ab");
    if (!file) return;
    if (length > 0) fprintf(file, "%s\n", text);
    fclose(file);
}

static BOOL says_yes(void)
{
    char answer[4] = "";
    FILE *file = _wfopen(FOLDER L"lockstep-rig-answer.txt", L"rb");
    if (!file) return FALSE;
    fread(answer, 1, 3, file);
    fclose(file);
    return !strcmp(answer, "yes");
}

static BOOL WINAPI execute(SHELLEXECUTEINFOW *order)
{
    static wchar_t line[4096];
    if (!order->lpVerb || wcscmp(order->lpVerb, L"runas")) return real_execute(order);
    swprintf(line, 4096, L"prompt|%ls|%ls|%ls|%ls|%#lx|%d", order->lpVerb, order->lpFile, order->lpParameters,
             order->lpDirectory, order->fMask, order->nShow);
    note(line);
    if (says_yes()) return real_execute(order);
    SetLastError(ERROR_CANCELLED);
    return FALSE;
}

static int WINAPI box(HWND window, const wchar_t *text, const wchar_t *title, UINT kind)
{
    static wchar_t line[4096];
    (void)window;
    swprintf(line, 4096, L"question|%ls|%ls|%#x", title, text, kind);
    note(line);
    return IDOK;
}

static BOOL WINAPI token(HANDLE handle, TOKEN_INFORMATION_CLASS kind, void *to, DWORD size, DWORD *written)
{
    BOOL done = real_token(handle, kind, to, size, written);
    if (done && kind == TokenElevation && size >= sizeof(TOKEN_ELEVATION)) ((TOKEN_ELEVATION *)to)->TokenIsElevated = 0;
    return done;
}

static void replace(IMAGE_THUNK_DATA *entry, void *with)
{
    DWORD before;
    if (!VirtualProtect(&entry->u1.Function, sizeof(void *), PAGE_READWRITE, &before)) return;
    entry->u1.Function = (ULONGLONG)with;
    VirtualProtect(&entry->u1.Function, sizeof(void *), before, &before);
}

/* The calls that the program itself makes. */
static void take_over(BYTE *base)
{
    IMAGE_NT_HEADERS *head = (IMAGE_NT_HEADERS *)(base + ((IMAGE_DOS_HEADER *)base)->e_lfanew);
    IMAGE_DATA_DIRECTORY *where = &head->OptionalHeader.DataDirectory[IMAGE_DIRECTORY_ENTRY_IMPORT];
    if (!where->VirtualAddress) return;
    for (IMAGE_IMPORT_DESCRIPTOR *dll = (IMAGE_IMPORT_DESCRIPTOR *)(base + where->VirtualAddress); dll->Name; dll++) {
        IMAGE_THUNK_DATA *name = (IMAGE_THUNK_DATA *)(base + dll->OriginalFirstThunk);
        IMAGE_THUNK_DATA *entry = (IMAGE_THUNK_DATA *)(base + dll->FirstThunk);
        for (; name->u1.AddressOfData; name++, entry++) {
            if (IMAGE_SNAP_BY_ORDINAL(name->u1.Ordinal)) continue;
            const char *called = ((IMAGE_IMPORT_BY_NAME *)(base + name->u1.AddressOfData))->Name;
            if (!strcmp(called, "ShellExecuteExW")) { real_execute = (void *)entry->u1.Function; replace(entry, execute); }
            else if (!strcmp(called, "GetTokenInformation")) { real_token = (void *)entry->u1.Function; replace(entry, token); }
            else if (!strcmp(called, "MessageBoxW")) replace(entry, box);
        }
    }
}

BOOL WINAPI DllMain(HINSTANCE self, DWORD why, void *unused)
{
    (void)self; (void)unused;
    if (why == DLL_PROCESS_ATTACH) take_over((BYTE *)GetModuleHandleW(NULL));
    return TRUE;
}
