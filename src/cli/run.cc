// `ferry run`: starts a program with libferry loaded (ld.so(8), LD_PRELOAD). Refuses what would silently run on the
// kernel's stack: no server, no library, and programs into which the dynamic linker loads nothing, or that go past what it loads.
#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "cli/admin.h"
#include "cli/command.h"
#include "ipc/owned_fd.h"
#include "preload/exec_target.h"

namespace ferry::cli {
namespace {

struct Options {
  std::string socket;
  std::string scheme = "shared";
  std::string log;
};

// Beside the command in a build tree or under the same prefix when installed.
std::string find_library(const std::string& scheme) {
  const std::string name = scheme == "emulated" ? "libferry_emulated.so" : "libferry.so";
  const std::string own = own_directory();
  for (const char* folder : {"/../lib/", "/../lib/ferry/", "/../lib/x86_64-linux-gnu/ferry/", "/../lib/aarch64-linux-gnu/ferry/"}) {
    if (char* real = realpath((own + folder + name).c_str(), nullptr); real != nullptr) {
      const std::string path = real;
      free(real);
      // LD_PRELOAD cannot quote: ld.so(8) splits at both.
      if (path.find_first_of(": ") != std::string::npos) {
        throw Failure(
            kRunFailed,
            name + " lies in a folder with a space or colon in its name, which LD_PRELOAD cannot express");
      }
      return path;
    }
  }
  throw Failure(kRunFailed, name + " is not beside this command (looked in " + own + "/../lib)");
}

// Throws unless the dynamic linker can load it: what it cannot is left out, and the program started all the same. elf(5)
void check_library(const std::string& path) {
  const auto refuse = [&](const std::string& why) {
    throw Failure(kRunFailed, path + " cannot be loaded (" + why + "), so programs would run on the kernel's stack");
  };
  const ipc::OwnedFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status;
  if (!file.valid() || fstat(file.get(), &status) != 0) return refuse(strerror(errno));
  Elf64_Ehdr header;
  if (pread(file.get(), &header, sizeof header, 0) != sizeof header || memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
      header.e_type != ET_DYN)
    return refuse("it is no shared library");
  if (header.e_shoff + uint64_t{header.e_shnum} * header.e_shentsize > static_cast<uint64_t>(status.st_size))
    return refuse("a part of it is missing");
  void* code = mmap(nullptr, sizeof header, PROT_READ | PROT_EXEC, MAP_PRIVATE, file.get(), 0);
  if (code == MAP_FAILED) return refuse(errno == EPERM ? "its file system is mounted noexec" : strerror(errno));
  munmap(code, sizeof header);
}

// Throws unless libferry will be loaded into `file`.
void check_target(const std::string& program, const std::string& file) {
  using preload::ExecTarget;
  switch (preload::inspect_exec_target(file.c_str())) {
    case ExecTarget::loads_ferry:
    case ExecTarget::unknown:  // execve says what is wrong with it
      return;
    case ExecTarget::static_file:
      throw Failure(kCannotExecute,
                    program +
                        " is statically linked: libferry cannot be loaded into it, so it would run on the "
                        "kernel's stack; not started");
    case ExecTarget::foreign:
      throw Failure(kCannotExecute,
                    program +
                        " is built for another machine type or C library: libferry cannot be loaded into "
                        "it, so it would run on the kernel's stack; not started");
    case ExecTarget::go:
      throw Failure(kCannotExecute,
                    program +
                        " is a Go program: it makes its system calls itself, past libferry, so it would run on the "
                        "kernel's stack; not started");
    case ExecTarget::privileged:
      throw Failure(kCannotExecute,
                    program +
                        " is set-user-ID, set-group-ID or has file capabilities: the dynamic linker loads no "
                        "libferry into it, so it would run on the kernel's stack; not started");
  }
}

void set_environment(const Options& options, const std::string& library) {
  std::string preload = library;
  if (const char* others = getenv("LD_PRELOAD"); others != nullptr && *others != '\0')
    preload += std::string(":") + others;
  char* absolute = realpath(options.socket.c_str(), nullptr);  // the program may change its working directory
  setenv("LD_PRELOAD", preload.c_str(), 1);
  setenv("FERRY_SOCKET", absolute != nullptr ? absolute : options.socket.c_str(), 1);
  setenv("FERRY_SCHEME", options.scheme.c_str(), 1);
  if (!options.log.empty()) setenv("FERRY_LOG", options.log.c_str(), 1);
  free(absolute);
}

[[noreturn]] void run(const Options& options, std::vector<std::string> words) {
  if (words.empty()) throw CLI::RequiredError("PROGRAM");
  if (words.front()[0] == '-')
    throw Failure(kUsage, "there is no option " + words.front() + " (see 'ferry run --help')");
  const std::string file = preload::find_executable(words.front().c_str());
  if (file.empty()) throw Failure(kNotFound, "program not found: " + words.front());

  const std::string library = find_library(options.scheme);
  check_library(library);
  try {
    const Admin reachable(options.socket);
  } catch (const Failure& failure) {
    throw Failure(kRunFailed, std::string(failure.what()) + "; " + words.front() + " was not started");
  }
  check_target(words.front(), file);
  set_environment(options, library);

  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  execv(file.c_str(), arguments.data());
  throw Failure(errno == ENOENT ? kNotFound : kCannotExecute, "cannot start " + words.front() + ": " + strerror(errno));
}

}  // namespace

void add_run(CLI::App& app, const std::vector<std::string>& program) {
  auto* command = app.add_subcommand("run", "Run a program on Ferry: ferry run [OPTIONS] -- PROGRAM [ARGUMENTS]");
  auto options = std::make_shared<Options>();
  add_socket_option(*command, options->socket);
  command
      ->add_option("--scheme", options->scheme,
                   "How data passes: shared (memory shared with ferryd), emulated (the same, but large buffers are referred to where "
                   "they are) or copy (through the kernel)")
      ->check(CLI::IsMember({"shared", "emulated", "copy"}))
      ->capture_default_str();
  command
      ->add_option("--log", options->log,
                   "What libferry logs: off, error, warn, info or debug, and where (default: warn, to standard error)")
      ->type_name("LEVEL[:FILE]");
  command->prefix_command();
  command->footer(
      "Exit status: the program's; 125 ferry itself failed, 126 the program cannot be run on Ferry, 127 not found.");
  command->callback([command, options, &program] {
    std::vector<std::string> words = command->remaining();  // `ferry run PROGRAM …` without "--" works, too
    words.insert(words.end(), program.begin(), program.end());
    run(*options, words);
  });
}

}  // namespace ferry::cli
