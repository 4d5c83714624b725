/* `hand menu`: clicks the icon beside the clock with the right button, as the task bar tells it to its program.
   `hand away`: makes the menu go away, as a click elsewhere does.
   `hand stop PID`: asks a connector to end, as its launcher does. */
#include <stdio.h>
#include <string.h>
#include <windows.h>

int main(int argc, char **argv) {
    if (argc == 2 && !strcmp(argv[1], "menu")) {
        HWND window = FindWindowA("LockstepConnectorTray", NULL);
        SetCursorPos(700, 400);
        return window && PostMessageA(window, WM_APP + 1, 0, MAKELPARAM(WM_CONTEXTMENU, 1)) ? 0 : 1;
    }
    if (argc == 2 && !strcmp(argv[1], "away")) {
        HWND window = FindWindowA("LockstepConnectorTray", NULL);
        return window && PostMessageA(window, WM_CANCELMODE, 0, 0) ? 0 : 1;
    }
    if (argc == 3 && !strcmp(argv[1], "stop")) {
        char name[64];
        snprintf(name, sizeof name, "Local\\LockstepStop-%s", argv[2]);
        HANDLE event = OpenEventA(EVENT_MODIFY_STATE, FALSE, name);
        return event && SetEvent(event) ? 0 : 1;
    }
    return 2;
}
