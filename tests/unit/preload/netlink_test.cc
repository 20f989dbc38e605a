// Our part of an address dump comes once, in front of the kernel's, and nothing of the kernel's is lost or held back. The sockets are
// the kernel's (every namespace has one to ask); Ferry's interfaces are made up.
#include "preload/netlink.h"

#include <errno.h>
#include <gtest/gtest.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <unistd.h>

#include <string>

#include "ipc/syscall.h"

namespace ferry::preload {
namespace {

struct Request {
  nlmsghdr header{};
  ifaddrmsg about{};
  Request(uint16_t type, uint32_t sequence, uint8_t family = AF_INET) {
    header.nlmsg_len = sizeof(Request);
    header.nlmsg_type = type;
    header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    header.nlmsg_seq = sequence;
    about.ifa_family = family;
  }
};

class NetlinkTest : public testing::Test {
 protected:
  void SetUp() override {
    interface_.address = 10u << 24 | 1;
    interface_.prefix_length = 8;
    interface_.index = 77;
    strcpy(interface_.name, "ferry0");
    fd_ = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);  // the interposed one
    ASSERT_GE(fd_, 0);
  }
  void TearDown() override { close(fd_); }

  NetlinkFile& file() {
    FileRef<> found = fd_table().get(fd_);
    EXPECT_TRUE(found && found->kind() == FileKind::netlink);
    return static_cast<NetlinkFile&>(*found.get());
  }
  // Asks the kernel, past the hooks, which would ask a ferryd for its interfaces; `ours`: is to be answered by us as well.
  void ask(uint32_t sequence, bool ours = true, uint16_t type = RTM_GETADDR) {
    Request r(type, sequence);
    if (ours) file().expect({sequence, 0}, {&interface_, 1});
    send_raw(r);
  }
  void send_raw(const Request& r) {
    ASSERT_EQ(ipc::raw_syscall(SYS_sendto, fd_, ipc::arg(&r), sizeof r, 0, 0, 0), static_cast<long>(sizeof r));
  }
  // All messages up to the end: "ours", "new", "done", "error".
  std::string read_all() {
    std::string said;
    alignas(nlmsghdr) char bytes[32768];
    for (;;) {
      ssize_t size = recv(fd_, bytes, sizeof bytes, MSG_DONTWAIT);
      if (size < 0) return said + "|" + strerrorname_np(errno);
      said += said.empty() ? "" : " ";
      auto left = static_cast<unsigned>(size);
      for (auto* h = reinterpret_cast<nlmsghdr*>(bytes); NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
        const bool ours = h->nlmsg_type == RTM_NEWADDR && static_cast<ifaddrmsg*>(NLMSG_DATA(h))->ifa_index == interface_.index;
        if (ours) said += "ours" + std::to_string(h->nlmsg_seq);
        else if (h->nlmsg_type == NLMSG_DONE) return said += "done";
        else if (h->nlmsg_type == NLMSG_ERROR) return said += "error";
        else if (!said.ends_with("new")) said += "new";
      }
    }
  }
  static bool begins(const std::string& text, const char* with) { return text.starts_with(with); }

  ipc::control::InterfaceInfo interface_{};
  int fd_ = -1;
};

TEST_F(NetlinkTest, OursComesOnceInFrontOfTheKernels) {
  ask(5);
  std::string said = read_all();
  EXPECT_TRUE(begins(said, "ours5 ")) << said;
  EXPECT_TRUE(said.ends_with("done")) << said;
  EXPECT_EQ(said.rfind("ours"), 0u) << said;
  EXPECT_EQ(read_all(), "|EAGAIN");
  ask(6, false);
  EXPECT_EQ(read_all().find("ours"), std::string::npos);
}

TEST_F(NetlinkTest, LengthsAreRightWhileItIsPeekedAt) {
  ask(5);
  char small[16], large[4096];
  iovec v{nullptr, 0};
  sockaddr_nl from;
  memset(&from, 0xff, sizeof from);
  msghdr m{};
  m.msg_name = &from;
  m.msg_namelen = sizeof from;
  m.msg_iov = &v;
  m.msg_iovlen = 1;
  const ssize_t size = recvmsg(fd_, &m, MSG_PEEK | MSG_TRUNC);  // as iproute2
  ASSERT_GT(size, 40);
  EXPECT_EQ(m.msg_flags, MSG_TRUNC);
  EXPECT_EQ(m.msg_namelen, sizeof from);
  EXPECT_EQ(from.nl_family, AF_NETLINK);
  EXPECT_EQ(from.nl_pid, 0u);
  EXPECT_EQ(recv(fd_, small, sizeof small, MSG_PEEK), 16);
  EXPECT_EQ(recv(fd_, small, sizeof small, MSG_PEEK | MSG_TRUNC), size);
  EXPECT_EQ(read(fd_, small, 0), 0) << "consumes nothing";
  v = {large, sizeof large};
  EXPECT_EQ(recvmsg(fd_, &m, 0), size);
  EXPECT_EQ(m.msg_flags, 0);
  nlmsghdr h;
  memcpy(&h, large, sizeof h);
  EXPECT_EQ(h.nlmsg_len, static_cast<uint32_t>(size));
  EXPECT_NE(h.nlmsg_pid, 0u) << "the port that the kernel gave the socket";
  EXPECT_TRUE(read_all().ends_with("done"));
}

TEST_F(NetlinkTest, PiecesAndAllWaysToReceive) {
  char a[10], b[4096];
  iovec v[2] = {{a, sizeof a}, {b, sizeof b}};
  ask(1);
  EXPECT_GT(readv(fd_, v, 2), 40);
  read_all();
  ask(2);
  sockaddr_nl from{};
  socklen_t length = sizeof from;
  EXPECT_GT(recvfrom(fd_, b, sizeof b, 0, reinterpret_cast<sockaddr*>(&from), &length), 40);
  EXPECT_EQ(length, sizeof from);
  read_all();
  ask(3);
  EXPECT_GT(read(fd_, b, sizeof b), 40);
  read_all();
  ask(4);
  mmsghdr m[3]{};
  char c[3][8192];
  iovec w[3] = {{c[0], sizeof c[0]}, {c[1], sizeof c[1]}, {c[2], sizeof c[2]}};
  for (int i = 0; i < 3; ++i) {
    m[i].msg_hdr.msg_iov = &w[i];
    m[i].msg_hdr.msg_iovlen = 1;
  }
  ASSERT_GE(recvmmsg(fd_, m, 3, MSG_WAITFORONE, nullptr), 2) << "ours, and the kernel's first";
  nlmsghdr first, second;
  memcpy(&first, c[0], sizeof first);
  memcpy(&second, c[1], sizeof second);
  EXPECT_EQ(first.nlmsg_len, m[0].msg_len);
  EXPECT_EQ(second.nlmsg_seq, 4u);
  EXPECT_EQ(second.nlmsg_pid, first.nlmsg_pid);
}

TEST_F(NetlinkTest, OnlyTheAnswerOfThatDumpIsInterrupted) {
  ask(1, false, RTM_GETLINK);
  file().expect({2, 0}, {&interface_, 1});
  EXPECT_EQ(read_all().find("ours"), std::string::npos);
  EXPECT_EQ(read_all(), "|EAGAIN") << "nothing is given when the kernel has nothing";
  ask(2, false);
  EXPECT_TRUE(begins(read_all(), "ours2 "));
}

TEST_F(NetlinkTest, ARefusedDumpIsForgotten) {
  int on = 1;
  ASSERT_EQ(setsockopt(fd_, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof on), 0);
  Request r(RTM_GETADDR, 3);
  r.about.ifa_prefixlen = 9;  // not allowed of a strict request
  file().expect({3, 0}, {&interface_, 1});
  send_raw(r);
  EXPECT_EQ(read_all().find("ours"), std::string::npos);
  ask(3, false);
  EXPECT_EQ(read_all().find("ours"), std::string::npos);
}

TEST_F(NetlinkTest, AWithdrawnDumpIsForgotten) {
  file().expect({3, 0}, {&interface_, 1});
  file().forget(3);
  ask(3, false);
  EXPECT_EQ(read_all().find("ours"), std::string::npos);
}

TEST_F(NetlinkTest, ANumberUsedAgainIsAnsweredOnce) {
  file().expect({0, 0}, {&interface_, 1});
  ask(0);
  std::string said = read_all();
  EXPECT_TRUE(begins(said, "ours0 ")) << said;
  EXPECT_EQ(said.rfind("ours"), 0u) << said;
}

TEST_F(NetlinkTest, UnreadDumpsAreBounded) {
  for (uint32_t i = 0; i < 100; ++i) file().expect({i, 0}, {&interface_, 1});
  ask(10, false);
  EXPECT_EQ(read_all().find("ours"), std::string::npos);
  ask(99, false);
  EXPECT_TRUE(begins(read_all(), "ours99 "));
}

TEST_F(NetlinkTest, ReadinessIsTheKernels) {
  pollfd p{fd_, POLLIN, 0};
  EXPECT_EQ(poll(&p, 1, 0), 0);
  int set = epoll_create1(EPOLL_CLOEXEC);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = 42;
  ASSERT_EQ(epoll_ctl(set, EPOLL_CTL_ADD, fd_, &event), 0);
  EXPECT_EQ(epoll_wait(set, &event, 1, 0), 0);
  ask(5);
  char bytes[8192];
  ASSERT_GT(recv(fd_, bytes, sizeof bytes, 0), 0);  // ours
  EXPECT_EQ(poll(&p, 1, 0), 1);
  EXPECT_EQ(p.revents, POLLIN);
  ASSERT_EQ(epoll_wait(set, &event, 1, 0), 1);
  EXPECT_EQ(event.data.u64, 42u);
  fd_set in;
  FD_ZERO(&in);
  FD_SET(fd_, &in);
  timeval now{};
  EXPECT_EQ(select(fd_ + 1, &in, nullptr, nullptr, &now), 1);
  EXPECT_TRUE(read_all().ends_with("done"));
  EXPECT_EQ(poll(&p, 1, 0), 0);
  EXPECT_EQ(epoll_ctl(set, EPOLL_CTL_DEL, fd_, nullptr), 0);
  close(set);
}

TEST_F(NetlinkTest, NamesAreFollowedAndForgotten) {
  ask(5);
  int copy = dup(fd_);
  ASSERT_EQ(fd_table().get(copy).get(), &file());
  std::swap(copy, fd_);
  close(copy);
  EXPECT_FALSE(fd_table().contains(copy));
  EXPECT_TRUE(begins(read_all(), "ours5 ")) << "a dump belongs to the socket";
  int other = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
  EXPECT_FALSE(fd_table().contains(other)) << "another family of messages";
  close(other);
}

TEST_F(NetlinkTest, AFreshSocketExpectsNothing) {
  file().expect({5, 0}, {&interface_, 1});
  close(fd_);
  fd_ = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  ask(5, false);
  EXPECT_EQ(read_all().find("ours"), std::string::npos);
}

}  // namespace
}  // namespace ferry::preload
