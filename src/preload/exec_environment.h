// The environment that a child needs so that libferry is loaded into it and finds the same ferryd: LD_PRELOAD and FERRY_*.
// A program may scrub its environment (env -i, clearenv, sshd); the variables are then put back for the child.
#pragma once

#include <string>
#include <vector>

namespace ferry::preload {

// Remembers the variables this process was started with. `library` is libferry.so's own path.
void remember_environment(const char* library);
const std::string& library_path();

// A copy of an environment with what is missing put back. Strings of the original are shared, not copied. One that cannot be read is given
// on as it is: execve(2) says EFAULT.
class ChildEnvironment {
 public:
  explicit ChildEnvironment(char* const* original);
  ChildEnvironment(const ChildEnvironment&) = delete;
  ChildEnvironment& operator=(const ChildEnvironment&) = delete;

  char* const* get() const { return bad_ != nullptr ? bad_ : pointers_.data(); }
  // Whether anything had to be put back.
  bool restored() const { return restored_; }

 private:
  std::vector<char*> pointers_;
  std::vector<std::string> owned_;
  bool restored_ = false;
  char* const* bad_ = nullptr;
};

// Does the same to this process's own `environ`, for libc functions that take it from there (system, popen).
void restore_own_environment();

}  // namespace ferry::preload
