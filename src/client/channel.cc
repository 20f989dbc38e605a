// Making channels, control calls, the end of a server. The data path is in channel_slots.cc.
#include "client/channel.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "base/atomics.h"
#include "client/errno.h"
#include "client/process.h"
#include "ipc/futex.h"
#include "ipc/signal_set.h"
#include "port/api/log.h"

namespace ferry::client {
namespace {

namespace abi = ipc::abi;
namespace control = ipc::control;
using ipc::arg;
using ipc::raw_syscall;
using port::LogLevel;

// Configurations stay in memory: somebody may be reading one.
struct KeptConfig {
  Config config;
  KeptConfig* older;
};
KeptConfig* g_config = nullptr;  // atomic
uint32_t g_last_server_pid = 0;  // atomic; by SO_PEERCRED, of the channel opened last
Channel* g_current = nullptr;    // atomic; may belong to the parent process or be dead
Channel* g_channels = nullptr;   // all, newest first; atomic
Mutex g_open_mutex;

// A thread that blocks in a passage waits for the server as well; and in kernel mode there is none.
bool can_wait_for_two() {
  return !Channel::config().kernel_mode && raw_syscall(SYS_futex_waitv, 0, 0, 0, 0, 0) == -EINVAL;
}

bool has_hung_up(int fd) {
  pollfd p{fd, 0, 0};
  const timespec now{};
  return raw_syscall(SYS_ppoll, arg(&p), 1, arg(&now)) > 0 && (p.revents & (POLLHUP | POLLERR | POLLNVAL)) != 0;
}

}  // namespace

void Channel::configure(const Config& config) {
  Guard guard(g_open_mutex);
  store_release(g_config, new KeptConfig{config, g_config});
}

const Config& Channel::config() {
  if (const KeptConfig* c = load_acquire(g_config); c != nullptr) return c->config;
  Guard guard(g_open_mutex);
  if (g_config == nullptr) store_release(g_config, new KeptConfig{Config(), nullptr});
  return g_config->config;
}

bool Channel::is_mine() const { return token_ == process_token(); }
bool Channel::is_dead() const { return load_relaxed(state_) == kDead; }
bool Channel::is_superseded() const { return load_relaxed(state_) == kSuperseded; }
bool Channel::is_usable() const { return load_relaxed(state_) == kOpen; }

Channel* Channel::existing() {
  Channel* c = load_acquire(g_current);
  return c != nullptr && c->is_mine() && c->is_usable() ? c : nullptr;
}

int Channel::current(Channel*& out) {
  out = existing();
  if (out != nullptr) return 0;
  config();
  Guard guard(g_open_mutex);
  out = existing();
  if (out != nullptr) return 0;
  after_fork_in_child();
  return open(out);
}

void Channel::renew() {
  Guard guard(g_open_mutex);
  if (Channel* c = existing(); c != nullptr) compare_exchange(c->state_, uint32_t{kOpen}, uint32_t{kSuperseded});
}

int Channel::open(Channel*& out) {
  const long fd = ipc::connect_control(config().path);
  if (fd < 0) return static_cast<int>(fd);
  auto* channel = new Channel;
  channel->token_ = process_token();
  channel->lines_[0] = new Line(*channel, 0);
  channel->lines_[0]->control = channel->keep_private(ipc::OwnedFd(static_cast<int>(fd)));
  if (const int error = channel->hello(); error != 0) {
    channel->close_descriptors();
    delete channel->lines_[0];
    delete channel;
    return error;
  }
  channel->arm_lifeline();
  if (Channel* last = load_acquire(g_current); last != nullptr && last->is_mine()) last->drop_stock();
  channel->next_ = g_channels;
  store_release(g_channels, channel);
  store_release(g_current, channel);
  store_relaxed(g_last_server_pid, channel->server_pid_here());
  out = channel;
  return 0;
}

int Channel::hello() {
  control::Request request;
  control::Reply reply;
  ipc::DescriptorList fds;
  request.op = static_cast<uint32_t>(control::Op::hello);
  request.value = abi::kVersion;
  if (can_wait_for_two()) request.flags |= control::kHelloPeers;
  const int error = call(0, request, reply, nullptr, 0, &fds);
  if (reply.error == static_cast<uint32_t>(Errc::version_mismatch)) {
    port::log(LogLevel::error, "libferry speaks version %u of the channel, ferryd another; restart ferryd or use its libferry",
              abi::kVersion);
    return -EPROTO;
  }
  if (error != 0) return error;
  if (reply.data_length != sizeof info_ || fds.count < 2) return -EPROTO;
  std::memcpy(&info_, reply.data, sizeof info_);
  auto map = ipc::ChannelMap::open(fds.take(0));
  if (!map) {
    port::log(LogLevel::error, "the channel from ferryd is not usable: %s", errc_name(map.error()));
    return -to_errno(map.error());
  }
  map_ = std::move(*map);
  map_.close_fd();
  raw_syscall(SYS_madvise, arg(map_.base()), static_cast<long>(map_.layout().total_size), MADV_DONTFORK);
  lines_[0]->kick = keep_private(fds.take(1));
  lifeline_ = keep_private(fds.take(2));
  auto pool = ipc::Pool::create(map_.layout().output);
  if (!pool) return -ENOMEM;
  pool_.emplace(std::move(*pool));
  slots_.resize(map_.layout().max_sockets);
  next_engine_ = token_;
  return 0;
}

int Channel::connect_to(uint32_t engine) {
  Guard guard(lines_mutex_);
  if (lines_[engine] != nullptr) return 0;
  control::Request request;
  control::Reply reply;
  ipc::DescriptorList fds;
  request.op = static_cast<uint32_t>(control::Op::engine);
  request.value = engine;
  if (const int error = call(0, request, reply, nullptr, 0, &fds); error != 0) return error;
  if (fds.count != 2) return -EPROTO;
  Line* line = new Line(*this, engine);
  line->control = keep_private(fds.take(0));
  line->kick = keep_private(fds.take(1));
  store_release(lines_[engine], line);
  return 0;
}

uint32_t Channel::choose_engine(abi::SocketKind kind) {
  if (kind != abi::kKindTcp || engines() == 1) return 0;
  const uint32_t engine = atomic_add(next_engine_, 1u) % engines();
  return connect_to(engine) == 0 ? engine : 0;
}

ipc::OwnedFd Channel::keep_private(ipc::OwnedFd fd) {
  const Config& c = config();
  if (fd.valid() && fd.get() < c.private_fd_floor) {
    const long moved = raw_syscall(SYS_fcntl, fd.get(), F_DUPFD_CLOEXEC, c.private_fd_floor);
    if (moved >= 0) fd = ipc::OwnedFd(static_cast<int>(moved));
  }
  if (fd.valid() && c.on_private_fd != nullptr) c.on_private_fd(fd.get(), true);
  return fd;
}

void Channel::drop_private(ipc::OwnedFd& fd) {
  if (fd.valid() && config().on_private_fd != nullptr) config().on_private_fd(fd.get(), false);
  fd.reset();
}

void Channel::close_descriptors() {
  drop_private(lifeline_);
  for (Line* line : lines_)
    if (line != nullptr)
      for (ipc::OwnedFd* fd : {&line->control, &line->kick}) drop_private(*fd);
  peers_.close_descriptors();
}

void Channel::after_fork_in_child() {
  for (Channel* c = load_acquire(g_channels); c != nullptr; c = c->next_)
    if (!c->is_mine()) c->close_descriptors();
}

void Channel::reap_pages() {
  for (Channel* c = load_acquire(g_channels); c != nullptr; c = c->next_)
    if (c->is_mine()) c->peers_.reap_pages();
}

void Channel::arm_lifeline() {
  const int signal = config().lifeline_signal;
  if (signal == 0 || !lifeline_.valid()) return;
  const int fd = lifeline_.get();
  raw_syscall(SYS_fcntl, fd, F_SETSIG, signal);
  raw_syscall(SYS_fcntl, fd, F_SETOWN, raw_syscall(SYS_getpid));
  set_async(true);
}

// False: the lifeline is none, or another process's (a child after vfork is in its parent's memory).
bool Channel::set_async(bool on) {
  const int fd = lifeline_.valid() ? lifeline_.get() : -1;
  if (fd < 0 || !is_mine() || raw_syscall(SYS_fcntl, fd, F_GETOWN) != raw_syscall(SYS_getpid)) return false;
  const long flags = raw_syscall(SYS_fcntl, fd, F_GETFL);
  raw_syscall(SYS_fcntl, fd, F_SETFL, on ? flags | O_ASYNC : flags & ~long{O_ASYNC});
  return true;
}

void Channel::before_exec() {
  bool any = false;
  for (Channel* c = load_acquire(g_channels); c != nullptr; c = c->next_) any |= c->set_async(false);
  if (!any || config().lifeline_signal == 0) return;
  // Nor one that waits already because the program blocks all signals.
  const uint64_t signals = uint64_t{1} << (config().lifeline_signal - 1);
  const timespec now{};
  while (raw_syscall(SYS_rt_sigtimedwait, arg(&signals), 0, arg(&now), sizeof signals) > 0) {
  }
}

void Channel::after_failed_exec() {
  for (Channel* c = load_acquire(g_channels); c != nullptr; c = c->next_)
    if (c->set_async(true)) c->check_alive();
}

bool Channel::hears_lifeline() {
  const int signal = config().lifeline_signal;
  uint64_t blocked = 0;
  return signal != 0 && raw_syscall(SYS_rt_sigprocmask, SIG_BLOCK, 0, arg(&blocked), sizeof blocked) == 0 && (blocked & ipc::bit_of(signal)) == 0;
}

void Channel::on_lifeline_signal() {
  for (Channel* c = load_acquire(g_channels); c != nullptr; c = c->next_)
    if (c->is_mine()) c->check_alive();
}

bool Channel::check_alive() {
  if (is_dead()) return false;
  const int fd = lifeline_.valid() ? lifeline_.get() : lines_[0]->control.get();
  if (!has_hung_up(fd)) return true;
  mark_dead();
  return false;
}

void Channel::mark_dead() {
  if (atomic_exchange(state_, uint32_t{kDead}) == kDead) return;
  port::log(LogLevel::error, "ferryd (pid %u) is gone, or has dropped this process; its sockets are dead", info_.server_pid);
  for (uint32_t slot = 0; slot < slots_.size(); ++slot) {
    if (socket_at(slot) == nullptr) continue;
    abi::SocketShared& s = shared(slot);
    atomic_add(s.event_seq, 1u);
    ipc::futex_wake(s.event_seq, ipc::kWakeAll);
    ipc::futex_wake(s.rx_lock, ipc::kWakeAll);
    ipc::futex_wake(s.tx_lock, ipc::kWakeAll);
  }
}

int Channel::call(uint32_t engine, control::Request& request, control::Reply& reply, const int* fds, uint32_t fd_count,
                  ipc::DescriptorList* received) {
  if (is_dead()) return -ENETDOWN;
  if (load_acquire(lines_[engine]) == nullptr)
    if (const int error = connect_to(engine); error != 0) return error;
  ipc::DescriptorList unwanted;
  return exchange(*lines_[engine], request, reply, fds, fd_count, received != nullptr ? *received : unwanted);
}

int Channel::exchange(Line& line, control::Request& request, control::Reply& reply, const int* fds, uint32_t fd_count,
                      ipc::DescriptorList& received) {
  Guard guard(line.mutex);
  request.sequence = ++line.sequence;
  long r = ipc::send_request(line.control.get(), request, fds, fd_count);
  if (r == 0) r = ipc::receive_reply(line.control.get(), reply, received);
  if ((r == 0 || r == -EMFILE) && (reply.sequence != request.sequence || reply.op != request.op)) r = -EPROTO;
  if (r == -EPIPE || r == -EPROTO || r == -ECONNRESET) {
    mark_dead();
    return -ENETDOWN;
  }
  if (r != 0) return static_cast<int>(r);
  if (reply.op == static_cast<uint32_t>(control::Op::stock)) line.stock.receive(reply, received);
  if (reply.data_length > control::kMaxData) reply.data_length = control::kMaxData;
  return -to_errno(reply.error);
}

bool Channel::drop_stock() {
  bool any = false;
  for_each_stock([&any](Stock& stock) { any |= stock.drop(); });
  return any;
}

int Channel::interface(uint32_t index, control::InterfaceInfo& out) {
  control::Request request;
  control::Reply reply;
  request.op = static_cast<uint32_t>(control::Op::interfaces);
  request.value = index;
  if (const int error = call(0, request, reply); error != 0) return error;
  if (reply.data_length != sizeof out) return -EPROTO;
  std::memcpy(&out, reply.data, sizeof out);
  return 0;
}

bool Channel::reaches(uint32_t address) {
  constexpr uint32_t kLoopback = 127, kFirstMulticast = 224;
  if (address >> 24 == 0 || address >> 24 == kLoopback || address >> 24 >= kFirstMulticast) return false;
  Guard guard(interfaces_mutex_);
  while (interfaces_.size() < info_.interface_count) {
    control::InterfaceInfo next;
    if (interface(static_cast<uint32_t>(interfaces_.size()), next) != 0) return false;
    interfaces_.push_back(next);
  }
  bool reached = info_.has_gateway != 0;
  for (const control::InterfaceInfo& i : interfaces_) {
    if (i.address == address) return false;
    if (i.prefix_length == 0 || i.prefix_length > 30) continue;
    const uint32_t hosts = ~uint32_t{0} >> i.prefix_length;
    if (((i.address ^ address) & ~hosts) != 0) continue;
    if ((address & hosts) == 0 || (address & hosts) == hosts) return false;  // the network itself, broadcast
    reached = true;
  }
  return reached;
}

bool looks_like_ferry(int fd) {
  int domain = 0, type = 0;
  socklen_t length = sizeof domain;
  if (raw_syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_DOMAIN, arg(&domain), arg(&length)) != 0 || domain != AF_UNIX) return false;
  length = sizeof type;
  if (raw_syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, arg(&type), arg(&length)) != 0 ||
      (type != SOCK_STREAM && type != SOCK_SEQPACKET))
    return false;
  ucred peer{};
  length = sizeof peer;
  if (raw_syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_PEERCRED, arg(&peer), arg(&length)) != 0 || peer.pid == 0) return false;
  Channel* channel = nullptr;
  const auto pid = static_cast<uint32_t>(peer.pid);
  if (const int error = Channel::current(channel); error != 0) return is_without_server(error) && pid == load_relaxed(g_last_server_pid);
  return pid == channel->server_pid_here();
}

uint32_t Channel::server_pid_here() const {
  ucred peer{};
  socklen_t length = sizeof peer;
  raw_syscall(SYS_getsockopt, lines_[0]->control.get(), SOL_SOCKET, SO_PEERCRED, arg(&peer), arg(&length));
  return static_cast<uint32_t>(peer.pid);
}

}  // namespace ferry::client
