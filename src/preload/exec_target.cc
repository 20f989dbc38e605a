// Owns the look at a program file before exec (exec_target.h). elf(5), execve(2), ld.so(8) "secure-execution mode".
#include "preload/exec_target.h"

#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/xattr.h>

#include "ipc/owned_fd.h"
#include "preload/real.h"

namespace ferry::preload {
namespace {

constexpr int kMaxInterpreters = 5;  // as the kernel's limit of nested "#!"

bool gains_privilege(int fd) {
  struct stat status;
  if (real().fstat(fd, &status) != 0) return false;
  uid_t new_uid = (status.st_mode & S_ISUID) != 0 ? status.st_uid : geteuid();
  gid_t new_gid = (status.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) ? status.st_gid : getegid();
  if (new_uid != getuid() || new_gid != getgid()) return true;
  return getuid() != 0 && fgetxattr(fd, "security.capability", nullptr, 0) > 0;
}

// Whether PT_NOTE `segment` holds the build ID that Go's linker gives every program (section .note.go.buildid).
bool holds_go_build_id(int fd, const Elf64_Phdr& segment) {
  constexpr uint32_t kGoBuildId = 4;
  const uint64_t alignment = segment.p_align == 8 ? 8 : 4;
  const auto aligned = [alignment](uint64_t n) { return (n + alignment - 1) / alignment * alignment; };
  char notes[4096];
  ssize_t size = real().pread(fd, notes, segment.p_filesz < sizeof(notes) ? segment.p_filesz : sizeof(notes),
                              static_cast<off_t>(segment.p_offset));
  for (uint64_t at = 0; size > 0 && at + sizeof(Elf64_Nhdr) + sizeof("Go") <= static_cast<uint64_t>(size);) {
    Elf64_Nhdr note;
    memcpy(&note, notes + at, sizeof(note));
    const char* owner = notes + at + sizeof(note);
    if (note.n_type == kGoBuildId && note.n_namesz >= sizeof("Go") && memcmp(owner, "Go", sizeof("Go")) == 0) return true;
    at = aligned(aligned(at + sizeof(note) + note.n_namesz) + note.n_descsz);
  }
  return false;
}

ExecTarget by_interpreter(int fd, const Elf64_Phdr& segment) {
  char interpreter[256] = {};
  size_t length = segment.p_filesz < sizeof(interpreter) - 1 ? segment.p_filesz : sizeof(interpreter) - 1;
  if (real().pread(fd, interpreter, length, static_cast<off_t>(segment.p_offset)) < 0) return ExecTarget::unknown;
  const char* base = strrchr(interpreter, '/');
  base = base != nullptr ? base + 1 : interpreter;
  return strcmp(base, "ld-linux-x86-64.so.2") == 0 ? ExecTarget::loads_ferry : ExecTarget::foreign;
}

// By the interpreter named by PT_INTERP, if there is one, and the notes.
ExecTarget inspect_elf(int fd, const char* head, ssize_t size) {
  if (size < static_cast<ssize_t>(sizeof(Elf64_Ehdr))) return ExecTarget::foreign;
  Elf64_Ehdr header;
  memcpy(&header, head, sizeof(header));
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_machine != EM_X86_64) return ExecTarget::foreign;
  if (header.e_phentsize != sizeof(Elf64_Phdr)) return ExecTarget::unknown;
  ExecTarget target = ExecTarget::static_file;
  bool go = false;
  for (unsigned i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr program;
    off_t at = static_cast<off_t>(header.e_phoff + i * sizeof(program));
    if (real().pread(fd, &program, sizeof(program), at) != static_cast<ssize_t>(sizeof(program))) return ExecTarget::unknown;
    if (program.p_type == PT_INTERP) target = by_interpreter(fd, program);
    if (program.p_type == PT_NOTE) go = go || holds_go_build_id(fd, program);
  }
  return target == ExecTarget::loads_ferry && go ? ExecTarget::go : target;
}

ExecTarget inspect(int fd, int depth) {
  char head[512];
  ssize_t size = real().pread(fd, head, sizeof(head) - 1, 0);
  if (size < 2) return ExecTarget::unknown;
  head[size] = '\0';
  if (size >= SELFMAG && memcmp(head, ELFMAG, SELFMAG) == 0) {
    ExecTarget target = inspect_elf(fd, head, size);
    return target == ExecTarget::loads_ferry && gains_privilege(fd) ? ExecTarget::privileged : target;
  }
  if (head[0] != '#' || head[1] != '!') return ExecTarget::loads_ferry;  // execvp(3) gives it to /bin/sh, or it fails
  if (depth == kMaxInterpreters) return ExecTarget::unknown;
  char* name = head + 2 + strspn(head + 2, " \t");
  name[strcspn(name, " \t\n\r")] = '\0';
  ipc::OwnedFd next(real().open(name, O_RDONLY | O_CLOEXEC));
  return next.valid() ? inspect(next.get(), depth + 1) : ExecTarget::unknown;
}

}  // namespace

ExecTarget inspect_exec_target(const char* path) {
  int saved_errno = errno;
  ipc::OwnedFd fd(real().open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  ExecTarget target = fd.valid() ? inspect(fd.get(), 0) : ExecTarget::unknown;
  errno = saved_errno;
  return target;
}

ExecTarget inspect_exec_target_fd(int fd) {
  int saved_errno = errno;
  char path[32];
  snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);  // `fd` itself may be O_PATH
  ExecTarget target = inspect_exec_target(path);
  errno = saved_errno;
  return target;
}

std::string find_executable(const char* file) {
  if (file == nullptr || *file == '\0') return {};
  if (strchr(file, '/') != nullptr) return file;
  const char* path = getenv("PATH");
  if (path == nullptr) path = "/bin:/usr/bin";
  while (true) {
    const char* end = strchrnul(path, ':');
    std::string candidate(path, static_cast<size_t>(end - path));
    if (!candidate.empty()) candidate += '/';
    candidate += file;
    if (access(candidate.c_str(), X_OK) == 0) return candidate;
    if (*end == '\0') return {};
    path = end + 1;
  }
}

const char* exec_target_name(ExecTarget target) {
  switch (target) {
    case ExecTarget::loads_ferry: return "dynamically linked";
    case ExecTarget::static_file: return "statically linked";
    case ExecTarget::foreign: return "for another machine or C library";
    case ExecTarget::go: return "a Go program";
    case ExecTarget::privileged: return "set-user-ID or privileged";
    case ExecTarget::unknown: return "of unknown kind";
  }
  return "of unknown kind";
}

}  // namespace ferry::preload
