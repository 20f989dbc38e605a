// src/ipc/control_socket.cc over a real socket in a private directory.
#include "ipc/control_socket.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

namespace ferry::ipc {
namespace {

class ControlSocket : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/ferry-control-XXXXXX";
    directory_ = mkdtemp(name);
    path_ = directory_ + "/s";
    listener_ = OwnedFd(static_cast<int>(listen_control(path_, 4)));
    client_ = OwnedFd(static_cast<int>(connect_control(path_)));
    server_ = OwnedFd(static_cast<int>(accept_control(listener_.get())));
    ASSERT_TRUE(listener_.valid() && client_.valid() && server_.valid());
  }
  void TearDown() override {
    unlink(path_.c_str());
    rmdir(directory_.c_str());
  }
  std::string directory_, path_;
  OwnedFd listener_, client_, server_;
  control::Request request_;
  control::Reply reply_;
  DescriptorList fds_;
  Credentials who_;
};

TEST_F(ControlSocket, CarriesRequestDescriptorsAndCredentials) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  request_.op = 7;
  request_.data_length = 3;
  request_.data[2] = 9;
  ASSERT_EQ(send_request(client_.get(), request_, ends, 2), 0);
  close(ends[0]);
  close(ends[1]);
  control::Request got;
  ASSERT_EQ(receive_request(server_.get(), got, fds_, who_), 0);
  EXPECT_EQ(std::memcmp(&got, &request_, sizeof got), 0);
  EXPECT_EQ(fds_.count, 2u);
  EXPECT_EQ(fcntl(fds_.fds[0].get(), F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(write(fds_.fds[1].get(), "x", 1), 1);
  char byte = 0;
  EXPECT_EQ(read(fds_.fds[0].get(), &byte, 1), 1);
  EXPECT_TRUE(who_.present);
  EXPECT_EQ(who_.pid, getpid());
  EXPECT_EQ(who_.uid, geteuid());
  EXPECT_EQ(who_.gid, getegid());
}

TEST_F(ControlSocket, CarriesReply) {
  reply_.slot = 5;
  const int fd = server_.get();
  ASSERT_EQ(send_reply(server_.get(), reply_, &fd, 1), 0);
  control::Reply got;
  ASSERT_EQ(receive_reply(client_.get(), got, fds_), 0);
  EXPECT_EQ(got.slot, 5u);
  EXPECT_EQ(fds_.count, 1u);
}

TEST_F(ControlSocket, ServerDoesNotWait) {
  EXPECT_EQ(receive_request(server_.get(), request_, fds_, who_), -EAGAIN);
  EXPECT_EQ(accept_control(listener_.get()), -EAGAIN);
  long r = 0;
  for (int i = 0; i < 100000 && r == 0; ++i) r = send_reply(server_.get(), reply_);
  EXPECT_EQ(r, -EAGAIN);
}

TEST_F(ControlSocket, EndsAreNoticed) {
  client_.reset();
  EXPECT_EQ(receive_request(server_.get(), request_, fds_, who_), -EPIPE);
  EXPECT_EQ(send_reply(server_.get(), reply_), -EPIPE);
}

TEST_F(ControlSocket, ServersEndIsNoticed) {
  server_.reset();
  EXPECT_EQ(receive_reply(client_.get(), reply_, fds_), -EPIPE);
}

TEST_F(ControlSocket, WrongSizesAreRefused) {
  for (size_t size : {1u, 311u, 313u}) {
    std::string message(size, 'x');
    ASSERT_EQ(send(client_.get(), message.data(), size, 0), static_cast<ssize_t>(size));
    EXPECT_EQ(receive_request(server_.get(), request_, fds_, who_), -EPROTO) << size;
  }
}

TEST_F(ControlSocket, TooManyDescriptorsAreRefusedAndClosed) {
  const int before = dup(0);
  close(before);
  constexpr int kCount = control::kMaxDescriptors + 1;
  alignas(cmsghdr) char ancillary[CMSG_SPACE(sizeof(int) * kCount)] = {};
  iovec io{&request_, sizeof request_};
  msghdr message{};
  message.msg_iov = &io;
  message.msg_iovlen = 1;
  message.msg_control = ancillary;
  message.msg_controllen = sizeof ancillary;
  cmsghdr* c = CMSG_FIRSTHDR(&message);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(sizeof(int) * kCount);
  for (int i = 0; i < kCount; ++i) std::memset(CMSG_DATA(c) + i * sizeof(int), 0, sizeof(int));  // descriptor 0
  ASSERT_GT(sendmsg(client_.get(), &message, 0), 0);
  EXPECT_EQ(receive_request(server_.get(), request_, fds_, who_), -EPROTO);
  EXPECT_EQ(fds_.count, 0u);
  const int after = dup(0);
  close(after);
  EXPECT_EQ(after, before);
  EXPECT_EQ(send_request(client_.get(), request_, ancillary == nullptr ? nullptr : &after, kCount), -EINVAL);
}

TEST(ControlSocketPath, ErrorsAreTheKernels) {
  EXPECT_EQ(connect_control("/nonexistent/ferry"), -ENOENT);
  EXPECT_EQ(connect_control(std::string(200, 'x')), -ENAMETOOLONG);
  EXPECT_EQ(connect_control(""), -ENAMETOOLONG);
}

}  // namespace
}  // namespace ferry::ipc
