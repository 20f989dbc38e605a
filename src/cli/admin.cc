// Owns the ferry command's side of the admin protocol (docs/admin-protocol.md); messages are ipc/control_socket.h's.
#include "cli/admin.h"

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>

#include "base/result.h"
#include "cli/command.h"
#include "ipc/abi.h"
#include "ipc/control_socket.h"

namespace ferry::cli {
namespace {

constexpr off_t kMaxAnswer = 256 << 20;  // bytes; 16384 sockets of many clients fit well

std::string connect_sentence(const std::string& path, long error) {
  switch (-error) {
    case ENOENT:
    case ECONNREFUSED:
      return "ferryd is not running: nobody listens on " + path + " (start ferryd, or name its socket with --socket)";
    case EACCES:
    case EPERM:
      return "no permission to use ferryd's control socket " + path;
    case ENAMETOOLONG:
      return "the socket path is too long: " + path;
    default:
      return "cannot connect to ferryd at " + path + ": " + strerror(static_cast<int>(-error));
  }
}

// data of a reply as text: bounded by the message, ended by the first NUL.
std::string text_of(const ipc::control::Reply& reply) {
  const size_t limit = reply.data_length < sizeof(reply.data) ? reply.data_length : sizeof(reply.data);
  return std::string(reinterpret_cast<const char*>(reply.data),
                     strnlen(reinterpret_cast<const char*>(reply.data), limit));
}

}  // namespace

Admin::Admin(const std::string& socket_path) : path_(socket_path) {
  const long socket = ipc::connect_control(path_);
  if (socket < 0) throw Failure(kFailed, connect_sentence(path_, socket));
  socket_ = ipc::OwnedFd(static_cast<int>(socket));

  ipc::control::Request hello;
  hello.op = static_cast<uint32_t>(ipc::control::Op::hello);
  hello.value = ipc::abi::kVersion;
  hello.flags = ipc::control::kHelloAdmin;
  ipc::OwnedFd none;
  const auto reply = exchange(hello, none, std::chrono::seconds(10));
  if (reply.error == static_cast<uint32_t>(Errc::version_mismatch)) {
    throw Failure(kFailed, "ferryd at " + path_ +
                               " is of another version than this ferry command (" FERRY_VERSION
                               "): restart it with the ferryd that came with this command");
  }
  if (reply.error != 0) {
    const std::string sentence = text_of(reply);
    throw Failure(kFailed, "ferryd at " + path_ + " refused us: " +
                               (sentence.empty() ? errc_name(static_cast<Errc>(reply.error)) : sentence));
  }
  if (reply.data_length < sizeof(info_)) throw Failure(kFailed, "what listens on " + path_ + " is not ferryd");
  memcpy(&info_, reply.data, sizeof(info_));
  info_.version[sizeof(info_.version) - 1] = '\0';
  if (info_.abi_version != ipc::abi::kVersion) {
    throw Failure(kFailed, "ferryd at " + path_ + " is version " + info_.version + " (channel version " +
                               std::to_string(info_.abi_version) +
                               "), this ferry command is " FERRY_VERSION " (channel version " +
                               std::to_string(ipc::abi::kVersion) + "): restart ferryd");
  }
}

ipc::control::Reply Admin::exchange(ipc::control::Request& request, ipc::OwnedFd& fd, std::chrono::milliseconds limit) {
  request.sequence = ++sequence_;
  if (ipc::send_request(socket_.get(), request) < 0) throw Failure(kFailed, "ferryd at " + path_ + " went away");

  const auto deadline = std::chrono::steady_clock::now() + limit;
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) throw Failure(kFailed, "ferryd at " + path_ + " does not answer");
    pollfd waiting{socket_.get(), POLLIN, 0};
    const int ready = poll(&waiting, 1, static_cast<int>(left.count()));
    if (ready < 0 && errno == EINTR) throw Failure(128 + 2, "interrupted");
    if (ready > 0) break;
  }
  ipc::control::Reply reply;
  ipc::DescriptorList fds;
  const long result = ipc::receive_reply(socket_.get(), reply, fds);
  if (result == -EPROTO || (result == 0 && reply.sequence != request.sequence)) {
    throw Failure(kFailed, "what listens on " + path_ + " is not ferryd");
  }
  if (result < 0) throw Failure(kFailed, "ferryd at " + path_ + " closed the connection");
  fd = fds.take(0);
  return reply;
}

ipc::OwnedFd Admin::ask(std::string_view command, std::chrono::milliseconds limit) {
  ipc::control::Request request;
  request.op = static_cast<uint32_t>(ipc::control::Op::admin);
  if (command.size() > sizeof(request.data)) throw Failure(kUsage, "the request is too long for ferryd");
  memcpy(request.data, command.data(), command.size());
  request.data_length = static_cast<uint32_t>(command.size());
  ipc::OwnedFd fd;
  const auto reply = exchange(request, fd, limit);
  if (reply.error != 0) {
    const std::string sentence = text_of(reply);
    throw Failure(kFailed, sentence.empty()
                               ? std::string("ferryd refused: ") + errc_name(static_cast<Errc>(reply.error))
                               : sentence);
  }
  if (fd.get() < 0) throw Failure(kFailed, "ferryd answered without the descriptor that was asked for");
  return fd;
}

std::string Admin::ask_text(std::string_view command, std::chrono::milliseconds limit) {
  const ipc::OwnedFd fd = ask(command, limit);
  struct stat status {};
  if (fstat(fd.get(), &status) != 0 || status.st_size < 0 || status.st_size > kMaxAnswer) {
    throw Failure(kFailed, "ferryd's answer is unreadable");
  }
  std::string text(static_cast<size_t>(status.st_size), '\0');
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t n = pread(fd.get(), text.data() + done, text.size() - done, static_cast<off_t>(done));
    if (n <= 0) throw Failure(kFailed, "ferryd's answer is unreadable");
    done += static_cast<size_t>(n);
  }
  return text;
}

}  // namespace ferry::cli
