// Processes that lock themselves in: after a seccomp filter or chroot, libferry's own system calls may be forbidden or in vain.
#pragma once

namespace ferry::preload {

// Before a seccomp filter: connected sockets go to kernel mode, where the program's own calls do everything (sshd, Chromium).
void before_sandbox();
// Before chroot: sockets get their home in this process while ferryd's control socket can still be reached. Connected streams go to
// kernel mode, for the children to come: those cannot attach to them (rsync's daemon).
void before_chroot();

}  // namespace ferry::preload
