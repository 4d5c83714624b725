"""The agent of one person: answers polkitd's questions as the person would.

Arguments: the folder of the stage, the person's name, the administrator's password.

polkitd looks for the agent of the very process that asks (org.freedesktop.PolicyKit1.AuthenticationAgent), so this
registers for each process of its person, and notes the number of each in the folder sessions/UID.
"""
import os, subprocess, sys, dbus, dbus.service
from dbus.mainloop.glib import DBusGMainLoop
from gi.repository import GLib

STAGE, NAME, PASSWORD = sys.argv[1:]
PATH = "/org/lockstep/Agent"
HELPER = "/usr/lib/polkit-1/polkit-agent-helper-1"


class Cancelled(dbus.DBusException):
    _dbus_error_name = "org.freedesktop.PolicyKit1.Error.Cancelled"


class Failed(dbus.DBusException):
    _dbus_error_name = "org.freedesktop.PolicyKit1.Error.Failed"


def answer():
    with open(f"{STAGE}/answers/{NAME}") as file:
        return file.read().strip()


class Agent(dbus.service.Object):
    open_windows = {}

    @dbus.service.method("org.freedesktop.PolicyKit1.AuthenticationAgent", "sssa{ss}sa(sa{sv})", "",
                         async_callbacks=("done", "failed"))
    def BeginAuthentication(self, action, message, icon, details, cookie, identities, done, failed):
        with open(f"{STAGE}/asked.log", "a") as log:
            print(NAME, message.replace("\n", " "), sep="\t", file=log)
        what = answer()
        if what == "leave-open":
            self.open_windows[cookie] = failed
        elif what == "refuse":
            failed(Cancelled("the person closed the window"))
        else:
            self.type_password(PASSWORD if what == "right" else "something else", cookie)
            done()

    def type_password(self, password, cookie):
        # The helper is root's, checks the password with PAM, and tells polkitd itself.
        helper = subprocess.Popen([HELPER, "root"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        helper.stdin.write(cookie + "\n")
        helper.stdin.flush()
        for line in helper.stdout:
            print("helper:", line.strip(), flush=True)
            if line.startswith("PAM_PROMPT_ECHO_OFF"):
                helper.stdin.write(password + "\n")
                helper.stdin.flush()
        helper.stdin.close()
        helper.wait()

    @dbus.service.method("org.freedesktop.PolicyKit1.AuthenticationAgent", "s", "")
    def CancelAuthentication(self, cookie):
        failed = self.open_windows.pop(cookie, None)
        if failed:
            failed(Cancelled("who asked has gone"))


DBusGMainLoop(set_as_default=True)
bus = dbus.SystemBus()
agent = Agent(bus, PATH)
authority = dbus.Interface(
    bus.get_object("org.freedesktop.PolicyKit1", "/org/freedesktop/PolicyKit1/Authority"),
    "org.freedesktop.PolicyKit1.Authority")
known = {}


def register(pid):
    """Registers for a process, unless it is known, somebody else's, or has ended."""
    try:
        if os.stat(f"/proc/{pid}").st_uid != os.getuid():
            return
        with open(f"/proc/{pid}/stat") as file:
            start = int(file.read().rsplit(")", 1)[1].split()[19])
    except OSError:
        return
    if known.get(pid) == start:
        return
    subject = ("unix-process", {"pid": dbus.UInt32(pid), "start-time": dbus.UInt64(start), "uid": dbus.Int32(os.getuid())})
    try:
        authority.RegisterAuthenticationAgent(dbus.Struct(subject, signature="sa{sv}"), "C", PATH)
    except dbus.DBusException as error:
        print("not registered for", pid, error, flush=True)
        return
    known[pid] = start
    open(f"{STAGE}/sessions/{os.getuid()}/{pid}", "w").close()


def look():
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            register(int(name))
    return True


GLib.timeout_add(50, look)
print("ready", flush=True)
GLib.MainLoop().run()
