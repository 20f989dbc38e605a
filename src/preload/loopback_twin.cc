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

void replay_options(SocketFile& file, int twin) {
  for (const RecordedOption& option : file.recorded_options())
    ipc::raw_syscall(SYS_setsockopt, twin, option.level, option.name, ipc::arg(option.value), option.length);
}

// A private descriptor, or -errno.
int bind_twin(SocketFile& file, uint16_t port) {
  long fd = ipc::raw_syscall(SYS_socket, file.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, file.protocol());
  if (fd < 0) return static_cast<int>(fd);
  replay_options(file, static_cast<int>(fd));
  sockaddr_storage address{};
  socklen_t length = client::write_address(client::make_address(INADDR_LOOPBACK, port), file.v6(), &address, sizeof(address));
  long error = ipc::raw_syscall(SYS_bind, fd, ipc::arg(&address), length);
  if (error == 0) return private_fds().adopt(static_cast<int>(fd));
  ipc::raw_syscall(SYS_close, fd);
  return static_cast<int>(error);
}

// The twin of a socket bound to `port`, now a listener; -errno.
int open_twin(SocketFile& file, uint16_t port, int backlog) {
  int twin = file.reserved_twin.exchange(-1);
  if (twin >= 0) replay_options(file, twin);  // some may be younger than the reservation
  else twin = bind_twin(file, port);
  if (twin < 0) return twin;
  long error = ipc::raw_syscall(SYS_listen, twin, backlog);
  if (error == 0) return twin;
  private_fds().close(twin);
  return static_cast<int>(error);
}

// The port of the twin that the socket has as soon as it listens; 0: none.
uint16_t twin_port(SocketFile& file, int fd) {
  client::Channel* channel = nullptr;
  client::Address local{};
  if (!file.socket.is_stream()) return 0;  // one-to-many could not give what comes there to its one reader
  if (!file.bound_any || client::Channel::current(channel) != 0 || channel->server().serves_loopback != 0) return 0;
  return file.socket.local_address(fd, local) == 0 ? local.port : 0;
}

}  // namespace

void reserve_loopback_twin(SocketFile& file, int fd) {
  const uint16_t port = twin_port(file, fd);
  if (port == 0) return;
  if (int twin = bind_twin(file, port); twin >= 0) file.reserved_twin = twin;
}

void make_loopback_twin(SocketFile& file, int fd, int backlog) {
  if (int twin = file.twin.load(); twin >= 0) {
    ipc::raw_syscall(SYS_listen, twin, backlog);
    return;
  }
  const uint16_t port = twin_port(file, fd);
  if (port == 0) return;
  int twin = open_twin(file, port, backlog);
  if (twin < 0) {
    FERRY_LOG_INFO("listener %d does not accept on 127.0.0.1:%u: %s", fd, port, strerror(-twin));
    return;
  }
  FERRY_LOG_INFO("listener %d also accepts on the kernel's 127.0.0.1:%u", fd, port);
  file.twin = twin;
  for (EpollSet* set : file.watchers()) set->watch_twin(file);
}

void shut_loopback_twin(SocketFile& file, int how) {
  if (const int twin = file.twin.load(); twin >= 0) ipc::raw_syscall(SYS_shutdown, twin, how);
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
