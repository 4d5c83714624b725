// Planted by an attacker: leaves a mark where it is run as a program, or loaded as a library.
#include <windows.h>

static void mark(void) { CloseHandle(CreateFileA("C:\\owned", GENERIC_WRITE, 7, 0, CREATE_ALWAYS, 0, 0)); }

BOOL WINAPI DllMain(HINSTANCE instance, DWORD why, void *more) {
    if (why == DLL_PROCESS_ATTACH) mark();
    return TRUE;
}

int main(int count, char **words) {
    // With a word it is the careless program that shows that the trap works.
    if (count > 1) return LoadLibraryA(words[1]) ? 0 : 1;
    mark();
    return 0;
}
