// Owns the making of twin listeners (loopback_twin.h).
#include "preload/loopback_twin.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/time.h>

#include "client/channel.h"
#include "ipc/syscall.h"
#include "preload/epoll_set.h"
#include "preload/log.h"
#include "preload/private_fds.h"

namespace ferry::preload {
namespace {

int open_twin(SocketFile& file, uint16_t port, int backlog) {
  long fd = ipc::raw_syscall(SYS_socket, file.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, file.protocol());
  if (fd < 0) return static_cast<int>(fd);
  for (const RecordedOption& option : file.recorded_options())
    ipc::raw_syscall(SYS_setsockopt, fd, option.level, option.name, ipc::arg(option.value), option.length);
  sockaddr_storage address{};
  socklen_t length = client::write_address(client::make_address(INADDR_LOOPBACK, port), file.v6(), &address, sizeof(address));
  long error = ipc::raw_syscall(SYS_bind, fd, ipc::arg(&address), length);
  if (error == 0) error = ipc::raw_syscall(SYS_listen, fd, backlog);
  if (error == 0) return private_fds().adopt(static_cast<int>(fd));
  ipc::raw_syscall(SYS_close, fd);
  return static_cast<int>(error);
}

}  // namespace

void make_loopback_twin(SocketFile& file, int fd, int backlog) {
  if (int twin = file.twin.load(); twin >= 0) {
    ipc::raw_syscall(SYS_listen, twin, backlog);
    return;
  }
  client::Channel* channel = nullptr;
  client::Address local{};
  if (file.socket.has_many_peers()) return;  // it could not give what comes there to its one reader
  if (!file.bound_any || client::Channel::current(channel) != 0 || channel->server().serves_loopback != 0) return;
  if (file.socket.local_address(fd, local) != 0 || local.port == 0) return;
  int twin = open_twin(file, local.port, backlog);
  if (twin < 0) {
    FERRY_LOG_INFO("listener %d does not accept on 127.0.0.1:%u: %s", fd, local.port, strerror(-twin));
    return;
  }
  FERRY_LOG_INFO("listener %d also accepts on the kernel's 127.0.0.1:%u", fd, local.port);
  file.twin = twin;
  for (EpollSet* set : file.watchers()) set->watch_twin(file);
}

const timespec* receive_timeout(SocketFile& file, int fd, timespec& storage) {
  timeval value{};
  socklen_t length = sizeof(value);
  if (file.socket.get_option(fd, SOL_SOCKET, SO_RCVTIMEO, &value, &length) != 0) return nullptr;
  if (value.tv_sec == 0 && value.tv_usec == 0) return nullptr;
  storage = {value.tv_sec, value.tv_usec * 1000};
  return &storage;
}

}  // namespace ferry::preload
