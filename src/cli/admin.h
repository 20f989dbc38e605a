// Questions to a running ferryd over its control socket (docs/admin-protocol.md). One question at a time, blocking with
// a time limit. Everything throws Failure(kFailed, …) with a sentence for the user.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "ipc/control.h"
#include "ipc/owned_fd.h"

namespace ferry::cli {

class Admin {
 public:
  // Connects and says hello. "ferryd is not running" and a version mismatch are told apart.
  explicit Admin(const std::string& socket_path);

  const ipc::control::ServerInfo& server() const { return info_; }

  // Asks, and returns the descriptor of the answer.
  ipc::OwnedFd ask(std::string_view command, std::chrono::milliseconds limit = std::chrono::seconds(10));
  // Asks, and returns the text of the memfd that came back.
  std::string ask_text(std::string_view command, std::chrono::milliseconds limit = std::chrono::seconds(10));

 private:
  ipc::control::Reply exchange(ipc::control::Request& request, ipc::OwnedFd& fd, std::chrono::milliseconds limit);

  std::string path_;
  ipc::OwnedFd socket_;
  uint32_t sequence_ = 0;
  ipc::control::ServerInfo info_{};
};

}  // namespace ferry::cli
