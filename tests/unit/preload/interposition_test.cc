// The interposed functions in one process with a ferryd that has no network (tests/unit/client/fake_server.h): this test's own calls
// of socket, send, poll, epoll_wait, … go through libferry, as a program's do.
#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string>
#include <thread>
#include <vector>

#include "preload/fd_table.h"
#include "preload/private_fds.h"
#include "unit/client/fake_server.h"

namespace ferry::preload {
namespace {

using client::test::FakeServer;

sockaddr_in peer() {
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(80);
  inet_pton(AF_INET, "192.0.2.1", &a.sin_addr);
  return a;
}

class Interposition : public testing::Test {
 protected:
  void SetUp() override {
    client::Config config;
    config.path = server_.path();
    config.private_fd_floor = PrivateFds::floor();
    config.on_private_fd = [](int fd, bool added) { added ? private_fds().add(fd) : private_fds().remove(fd); };
    client::Channel::configure(config);
    client::Channel::renew();
  }
  int connected(int flags = 0) {
    int fd = socket(AF_INET, SOCK_STREAM | flags, 0);
    EXPECT_GE(fd, 0);
    sockaddr_in a = peer();
    EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&a), sizeof a), 0);
    return fd;
  }
  void arrive(const std::string& bytes) {
    server_.with([&] { server_.last().pending.push_back(bytes); });
  }
  FakeServer server_;
};

TEST_F(Interposition, StreamSocketsAreFerrysOthersAreTheKernels) {
  int tcp = socket(AF_INET, SOCK_STREAM, 0);
  int local = socket(AF_UNIX, SOCK_STREAM, 0);
  EXPECT_TRUE(fd_table().contains(tcp));
  EXPECT_FALSE(fd_table().contains(local));
  close(tcp);
  EXPECT_FALSE(fd_table().contains(tcp));
  close(local);
}

TEST_F(Interposition, BytesGoBothWays) {
  int fd = connected();
  EXPECT_EQ(write(fd, "hello", 5), 5);
  arrive("answer");
  char b[16];
  EXPECT_EQ(recv(fd, b, sizeof b, 0), 6);
  EXPECT_EQ(std::string(b, 6), "answer");
  while (server_.with([&] { return server_.last().received; }) != "hello") std::this_thread::yield();
  close(fd);
}

TEST_F(Interposition, NonblockingIsSharedByDups) {
  int fd = connected();
  int copy = dup(fd);
  EXPECT_TRUE(fd_table().contains(copy));
  EXPECT_EQ(fcntl(copy, F_SETFL, O_RDWR | O_NONBLOCK), 0);
  char b;
  EXPECT_EQ(recv(fd, &b, 1, 0), -1);
  EXPECT_EQ(errno, EAGAIN);
  close(fd);
  arrive("x");
  pollfd p{copy, POLLIN, 0};
  EXPECT_EQ(poll(&p, 1, -1), 1);
  EXPECT_EQ(recv(copy, &b, 1, 0), 1);
  close(copy);
}

TEST_F(Interposition, PollMixesFerryAndPipes) {
  int fd = connected(), ends[2];
  ASSERT_EQ(pipe(ends), 0);
  pollfd p[3] = {{fd, POLLIN, 0}, {ends[0], POLLIN, 0}, {-1, POLLIN, 7}};
  EXPECT_EQ(poll(p, 3, 0), 0);
  EXPECT_EQ(write(ends[1], "x", 1), 1);
  EXPECT_EQ(poll(p, 3, -1), 1);
  EXPECT_EQ(p[0].revents, 0);
  EXPECT_EQ(p[1].revents, POLLIN);
  EXPECT_EQ(p[2].revents, 0);
  std::thread later([&] { arrive("data"); });
  char b[8];
  EXPECT_EQ(read(ends[0], b, 8), 1);
  EXPECT_EQ(poll(p, 2, -1), 1);
  EXPECT_EQ(p[0].revents, POLLIN);
  later.join();
  fd_set in;
  FD_ZERO(&in);
  FD_SET(fd, &in);
  FD_SET(ends[0], &in);
  EXPECT_EQ(select(std::max(fd, ends[0]) + 1, &in, nullptr, nullptr, nullptr), 1);
  EXPECT_TRUE(FD_ISSET(fd, &in));
  EXPECT_FALSE(FD_ISSET(ends[0], &in));
  for (int each : {fd, ends[0], ends[1]}) close(each);
}

TEST_F(Interposition, EpollLevelEdgeAndOneShot) {
  int fd = connected(), e = epoll_create1(0);
  epoll_event ev{}, out[4];
  ev.events = EPOLLIN;
  ev.data.u64 = 0x1234567890abcdef;
  EXPECT_EQ(epoll_ctl(e, EPOLL_CTL_ADD, fd, &ev), 0);
  EXPECT_EQ(epoll_ctl(e, EPOLL_CTL_ADD, fd, &ev), -1);
  EXPECT_EQ(errno, EEXIST);
  EXPECT_EQ(epoll_wait(e, out, 4, 0), 0);
  arrive("ab");
  EXPECT_EQ(epoll_wait(e, out, 4, -1), 1);
  EXPECT_EQ(out[0].data.u64, 0x1234567890abcdef);
  EXPECT_EQ(epoll_wait(e, out, 4, 0), 1);
  ev.events = EPOLLIN | EPOLLET;
  EXPECT_EQ(epoll_ctl(e, EPOLL_CTL_MOD, fd, &ev), 0);
  EXPECT_EQ(epoll_wait(e, out, 4, 0), 1);
  EXPECT_EQ(epoll_wait(e, out, 4, 0), 0);
  arrive("cd");
  EXPECT_EQ(epoll_wait(e, out, 4, -1), 1);
  ev.events = EPOLLIN | EPOLLONESHOT;
  EXPECT_EQ(epoll_ctl(e, EPOLL_CTL_MOD, fd, &ev), 0);
  EXPECT_EQ(epoll_wait(e, out, 4, 0), 1);
  EXPECT_EQ(epoll_wait(e, out, 4, 0), 0);
  close(fd);
  EXPECT_EQ(epoll_ctl(e, EPOLL_CTL_DEL, fd, nullptr), -1);
  close(e);
}

TEST_F(Interposition, EpollSleepsOnBothKinds) {
  int fd = connected(), e = epoll_create1(0), ends[2];
  ASSERT_EQ(pipe(ends), 0);
  epoll_event ev{}, out[4];
  ev.events = EPOLLIN;
  ev.data.fd = ends[0];
  EXPECT_EQ(epoll_ctl(e, EPOLL_CTL_ADD, ends[0], &ev), 0);
  std::thread later([&] {  // while the other thread may be asleep in a set without Ferry sockets
    epoll_event mine{};
    mine.events = EPOLLIN;
    mine.data.fd = fd;
    EXPECT_EQ(epoll_ctl(e, EPOLL_CTL_ADD, fd, &mine), 0);
    arrive("x");
  });
  EXPECT_EQ(epoll_wait(e, out, 4, -1), 1);
  EXPECT_EQ(out[0].data.fd, fd);
  later.join();
  char b;
  EXPECT_EQ(recv(fd, &b, 1, 0), 1);
  EXPECT_EQ(write(ends[1], "y", 1), 1);
  EXPECT_EQ(epoll_wait(e, out, 4, -1), 1);
  EXPECT_EQ(out[0].data.fd, ends[0]);
  for (int each : {fd, e, ends[0], ends[1]}) close(each);
}

TEST_F(Interposition, NestedSetsPassReadinessOn) {
  int fd = connected(), inner = epoll_create1(0), outer = epoll_create1(0);
  epoll_event ev{}, out[4];
  ev.events = EPOLLIN;
  EXPECT_EQ(epoll_ctl(inner, EPOLL_CTL_ADD, fd, &ev), 0);
  EXPECT_EQ(epoll_ctl(outer, EPOLL_CTL_ADD, inner, &ev), 0);
  EXPECT_EQ(epoll_wait(outer, out, 4, 0), 0);
  std::thread later([&] { arrive("x"); });
  EXPECT_EQ(epoll_wait(outer, out, 4, -1), 1);
  later.join();
  pollfd p{inner, POLLIN, 0};
  EXPECT_EQ(poll(&p, 1, 0), 1);
  char b;
  EXPECT_EQ(recv(fd, &b, 1, 0), 1);
  EXPECT_EQ(epoll_wait(outer, out, 4, 0), 0);
  for (int each : {fd, inner, outer}) close(each);
}

TEST_F(Interposition, NumbersFreedUnseenAreForgotten) {
  int fd = connected();
  ipc::raw_syscall(SYS_close, fd);
  std::vector<int> files;  // the server's thread may have freed lower numbers
  while (files.empty() || files.back() < fd) files.push_back(open("/dev/null", O_RDWR));
  EXPECT_EQ(files.back(), fd);
  EXPECT_FALSE(fd_table().contains(fd));
  EXPECT_EQ(write(fd, "x", 1), 1);
  for (int file : files) close(file);
  fd = connected();
  EXPECT_EQ(syscall(SYS_close, fd), 0);
  EXPECT_FALSE(fd_table().contains(fd));
}

TEST_F(Interposition, OwnDescriptorsAreOutOfReach) {
  int fd = connected();
  int mine = private_fds().next(0, ~0u);
  ASSERT_GE(mine, PrivateFds::floor());
  EXPECT_EQ(close(mine), -1);
  EXPECT_EQ(errno, EBADF);
  EXPECT_EQ(dup(mine), -1);
  EXPECT_EQ(dup2(fd, mine), -1);
  EXPECT_EQ(fcntl(mine, F_GETFD), -1);
  EXPECT_EQ(close_range(static_cast<unsigned>(mine), static_cast<unsigned>(mine) + 5, 0), 0);
  EXPECT_EQ(write(fd, "still served", 12), 12);
  close(fd);
}

TEST_F(Interposition, BrokenPipeRaisesTheSignal) {
  static std::atomic<int> raised;
  raised = 0;
  auto old = signal(SIGPIPE, [](int) { ++raised; });
  int fd = connected();
  EXPECT_EQ(shutdown(fd, SHUT_WR), 0);
  EXPECT_EQ(write(fd, "x", 1), -1);
  EXPECT_EQ(errno, EPIPE);
  EXPECT_EQ(raised, 1);
  EXPECT_EQ(send(fd, "x", 1, MSG_NOSIGNAL), -1);
  EXPECT_EQ(raised, 1);
  signal(SIGPIPE, old);
  close(fd);
}

TEST_F(Interposition, HandlersAreTheProgramsOwn) {
  struct sigaction action = {}, got = {};
  action.sa_handler = [](int) {};
  action.sa_flags = SA_RESTART;
  sigaddset(&action.sa_mask, SIGUSR2);
  ASSERT_EQ(sigaction(SIGUSR1, &action, nullptr), 0);
  ASSERT_EQ(sigaction(SIGUSR1, nullptr, &got), 0);
  EXPECT_EQ(got.sa_handler, action.sa_handler);
  EXPECT_EQ(got.sa_flags & SA_SIGINFO, 0);
  EXPECT_NE(got.sa_flags & SA_RESTART, 0);
  EXPECT_EQ(sigismember(&got.sa_mask, SIGUSR2), 1);
  EXPECT_EQ(signal(SIGUSR1, SIG_DFL), action.sa_handler);
  EXPECT_EQ(sigaction(SIGKILL, &action, nullptr), -1);
  EXPECT_EQ(errno, EINVAL);
}

// A signal inside a critical section is delivered when it ends, once, with the information it came with.
TEST_F(Interposition, SignalsWaitForCriticalSections) {
  static std::atomic<int> seen, value, depth;
  seen = value = depth = 0;
  struct sigaction action = {};
  action.sa_sigaction = [](int, siginfo_t* info, void*) {
    ++seen;
    value = info->si_value.sival_int;
    depth = client::in_critical_section() ? 1 : 0;
  };
  action.sa_flags = SA_SIGINFO;
  ASSERT_EQ(sigaction(SIGUSR1, &action, nullptr), 0);
  {
    client::Critical section;
    sigval with{};
    with.sival_int = 77;
    ASSERT_EQ(pthread_sigqueue(pthread_self(), SIGUSR1, with), 0);  // not to the thread of the fake server
    EXPECT_EQ(seen, 0);
  }
  EXPECT_EQ(seen, 1);
  EXPECT_EQ(value, 77);
  EXPECT_EQ(depth, 0);
  sigset_t now;
  pthread_sigmask(SIG_SETMASK, nullptr, &now);
  EXPECT_EQ(sigismember(&now, SIGUSR1), 0);
  signal(SIGUSR1, SIG_DFL);
}

TEST_F(Interposition, IoUringIsRefused) {
  EXPECT_EQ(syscall(SYS_io_uring_setup, 1, nullptr), -1);
  EXPECT_EQ(errno, ENOSYS);
}

TEST_F(Interposition, WithoutServerNothingFallsToTheKernel) {
  server_.stop();
  client::Channel::renew();
  EXPECT_EQ(socket(AF_INET, SOCK_STREAM, 0), -1);
  EXPECT_EQ(errno, ENETDOWN);
}

}  // namespace
}  // namespace ferry::preload
