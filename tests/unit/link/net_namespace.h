// Real interfaces for tests: network namespaces that belong to this process alone (they have no name and vanish with it).
#pragma once

#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <utility>

namespace ferry::link::testing {

class NetNamespace {
 public:
  // A fresh namespace; !ok() without the privilege to make one.
  NetNamespace() {
    const int home = current();
    if (::unshare(CLONE_NEWNET) == 0) {
      fd_ = current();
      (void)::setns(home, CLONE_NEWNET);
    }
    ::close(home);
  }
  ~NetNamespace() {
    if (fd_ >= 0) ::close(fd_);
  }
  NetNamespace(const NetNamespace&) = delete;
  NetNamespace& operator=(const NetNamespace&) = delete;

  bool ok() const { return fd_ >= 0; }
  // Runs `action` with this thread inside the namespace.
  template <typename Action>
  auto run(Action&& action) const {
    struct Visit {
      int home = current();
      explicit Visit(int fd) { (void)::setns(fd, CLONE_NEWNET); }
      ~Visit() {
        (void)::setns(home, CLONE_NEWNET);
        ::close(home);
      }
    } visit(fd_);
    return std::forward<Action>(action)();
  }
  // Runs a shell command inside; whether it succeeded.
  bool shell(const std::string& command) const {
    return run([&] { return std::system((command + " >/dev/null 2>&1").c_str()) == 0; });
  }
  // Until the kernel has noticed the carrier and sends: it drops what is sent before.
  bool wait_until_up(const std::string& interface) const {
    return shell("for i in $(seq 150); do ip link show " + interface + " | grep -q 'state UP' && exit 0; sleep 0.02; done; exit 1");
  }
  // Something iproute2 takes for a namespace.
  std::string path() const { return "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(fd_); }

 private:
  static int current() { return ::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC); }
  int fd_ = -1;
};

// veth "k0" in `kernel`, with 10.77.0.1/24, and "f0" in `ferry`, without addresses.
struct VethPair {
  NetNamespace kernel, ferry;
  bool ok() const { return kernel.ok() && ferry.ok() && made; }
  bool made = false;
  explicit VethPair(const std::string& more = "") {
    if (!kernel.ok() || !ferry.ok()) return;
    made = kernel.shell("ip link add k0 type veth peer name f0 && ip link set f0 netns " + ferry.path() +
                        " && ip addr add 10.77.0.1/24 dev k0 && ip link set k0 up && ip link set lo up") &&
           ferry.shell("ip link set f0 up") && kernel.wait_until_up("k0") && ferry.wait_until_up("f0") &&
           (more.empty() || (kernel.shell("ethtool -K k0 " + more) && ferry.shell("ethtool -K f0 " + more)));
  }
};

inline bool is_root() { return ::geteuid() == 0; }

}  // namespace ferry::link::testing

#define FERRY_NEEDS_ROOT() \
  if (!::ferry::link::testing::is_root()) GTEST_SKIP() << "needs root to make network namespaces"
