/* What Claude Code does on Windows with a hook, for `.ci/windows`: starts it with pipes as its standard streams, writes its
 * input, and waits until it has ended and nobody holds its outputs any more.
 *
 *   caller.exe wait INPUT-FILE PROGRAM ARGUMENT     prints how many ms that took, and what the hook printed
 *   caller.exe kill MS INPUT-FILE PROGRAM ARGUMENT  ends the hook after so many ms, and itself at once
 */
#include <windows.h>
#include <stdio.h>
#include <stdlib.h>
#include <wchar.h>

static void fail(const char *what) {
    fprintf(stderr, "%s: error %lu\n", what, GetLastError());
    exit(1);
}

int wmain(int count, wchar_t **arguments) {
    int kills = count > 1 && !wcscmp(arguments[1], L"kill");
    wchar_t **rest = arguments + 2 + kills;
    if (count != 5 + kills) return 2;

    static char input[1 << 16];
    DWORD length = 0;
    HANDLE file = CreateFileW(rest[0], GENERIC_READ, FILE_SHARE_READ, NULL, OPEN_EXISTING, 0, NULL);
    if (file == INVALID_HANDLE_VALUE || !ReadFile(file, input, sizeof input, &length, NULL)) fail("the input");

    /* The hook's ends can be inherited, ours cannot. */
    SECURITY_ATTRIBUTES inherited = {sizeof inherited, NULL, TRUE};
    HANDLE in_read, in_write, out_read, out_write;
    if (!CreatePipe(&in_read, &in_write, &inherited, 0) || !CreatePipe(&out_read, &out_write, &inherited, 0)) fail("a pipe");
    SetHandleInformation(in_write, HANDLE_FLAG_INHERIT, 0);
    SetHandleInformation(out_read, HANDLE_FLAG_INHERIT, 0);

    static wchar_t command[4096];
    _snwprintf(command, 4095, L"\"%ls\" %ls", rest[1], rest[2]);
    STARTUPINFOW start = {.cb = sizeof start, .dwFlags = STARTF_USESTDHANDLES};
    start.hStdInput = in_read;
    start.hStdOutput = start.hStdError = out_write;
    PROCESS_INFORMATION process;
    ULONGLONG began = GetTickCount64();
    if (!CreateProcessW(NULL, command, NULL, NULL, TRUE, CREATE_NO_WINDOW, NULL, NULL, &start, &process)) fail("the hook");
    CloseHandle(in_read);
    CloseHandle(out_write);
    DWORD written;
    WriteFile(in_write, input, length, &written, NULL);
    CloseHandle(in_write);
    if (kills) {
        Sleep((DWORD)_wtoi(arguments[2]));
        TerminateProcess(process.hProcess, 1);
        TerminateProcess(GetCurrentProcess(), 0);
    }

    static char said[1 << 16];
    DWORD size = 0, more;
    while (size < sizeof said && ReadFile(out_read, said + size, sizeof said - size, &more, NULL) && more) size += more;
    WaitForSingleObject(process.hProcess, INFINITE);
    DWORD code;
    GetExitCodeProcess(process.hProcess, &code);
    printf("%llu ms, code %lu\n", GetTickCount64() - began, code);
    fwrite(said, 1, size, stdout);
    return 0;
}
