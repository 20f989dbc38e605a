// Privileges of real processes, as /proc tells.
#include "server/credentials.h"

#include <cap-ng.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace ferry::server {
namespace {

constexpr uid_t kSomebody = 65534;

// A child process that has become what `become` makes of it, and waits.
class Process {
 public:
  explicit Process(bool (*become)()) {
    int ready[2];
    if (pipe(ready) != 0) return;
    pid_ = fork();
    if (pid_ == 0) {
      char outcome = become() ? 'y' : 'n';
      if (write(ready[1], &outcome, 1) == 1) pause();
      _exit(0);
    }
    char outcome = 'n';
    close(ready[1]);
    became_ = read(ready[0], &outcome, 1) == 1 && outcome == 'y';
    close(ready[0]);
  }
  ~Process() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  pid_t pid() const { return pid_; }
  // False: this needs root, or the kernel does not let it.
  bool became() const { return became_; }

 private:
  pid_t pid_ = -1;
  bool became_ = false;
};

bool become_somebody() { return setresgid(kSomebody, kSomebody, kSomebody) == 0 && setresuid(kSomebody, kSomebody, kSomebody) == 0; }

bool become_somebody_who_may_bind() {
  if (prctl(PR_SET_KEEPCAPS, 1) != 0 || !become_somebody()) return false;
  capng_clear(CAPNG_SELECT_CAPS);
  capng_update(CAPNG_ADD, static_cast<capng_type_t>(CAPNG_EFFECTIVE | CAPNG_PERMITTED), CAP_NET_BIND_SERVICE);
  return capng_apply(CAPNG_SELECT_CAPS) == 0;
}

TEST(Credentials, RootMayBindPrivilegedPorts) { EXPECT_TRUE(may_bind_privileged_ports(getpid(), 0)); }

TEST(Credentials, SomebodyMayNot) {
  Process p(become_somebody);
  if (!p.became()) GTEST_SKIP() << "needs root";
  EXPECT_FALSE(may_bind_privileged_ports(p.pid(), kSomebody));
}

TEST(Credentials, SomebodyWithTheCapabilityMay) {
  Process p(become_somebody_who_may_bind);
  if (!p.became()) GTEST_SKIP() << "needs root";
  EXPECT_TRUE(may_bind_privileged_ports(p.pid(), kSomebody));
}

// Everybody has every capability in a user namespace of their own.
TEST(Credentials, ACapabilityOfAnotherUserNamespaceDoesNotCount) {
  Process p([] { return (geteuid() != 0 || become_somebody()) && unshare(CLONE_NEWUSER) == 0; });
  if (!p.became()) GTEST_SKIP() << "no user namespaces here";
  EXPECT_FALSE(may_bind_privileged_ports(p.pid(), geteuid() != 0 ? geteuid() : kSomebody));
}

// It sends a request and then runs a program with more privileges before the server looks.
TEST(Credentials, APrivilegeOfAnotherUserThanTheSenderDoesNotCount) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  EXPECT_FALSE(may_bind_privileged_ports(getpid(), kSomebody));
}

TEST(Credentials, NoProcessHasNone) { EXPECT_FALSE(may_bind_privileged_ports(0x7fffffff, kSomebody)); }

}  // namespace
}  // namespace ferry::server
