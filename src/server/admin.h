// Answers the questions of the ferry command (docs/admin-protocol.md): stat, ss, ping, capture, version.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "server/calibration.h"
#include "server/control.h"
#include "server/engine.h"
#include "server/ping.h"

namespace ferry::server {

// A text on its way into a memfd, for a reply, in pieces.
class Answer {
 public:
  Answer();
  void add(std::string_view text);
  // All of another one that was flushed.
  void add(const Answer& other);
  void flush();
  bool empty() const { return written_ == 0 && buffer_.empty(); }
  // False: no descriptors, or no memory.
  bool send(ipc::control::Reply& reply, ipc::DescriptorList& fds);

 private:
  static constexpr size_t kChunk = 64 << 10;
  ipc::OwnedFd fd_;
  bool good_;
  std::string buffer_;
  size_t written_ = 0;
};

class Admin final : public AdminHandler {
 public:
  Admin(Engine& engine, const Calibration& calibration) : engine_(engine), pings_(engine), calibration_(calibration) {}
  void set_identity(const ServerIdentity& identity) { identity_ = &identity; }

  bool handle_admin(Client& client, const std::string& command, ipc::control::Reply& reply,
                    ipc::DescriptorList& fds) override;
  void forget_admin(Client& client) override { pings_.forget(client); }
  // Time-outs; between turns.
  void on_turn() { pings_.on_turn(); }
  Instant next_deadline() const { return pings_.next_deadline(); }

 private:
  struct Asker {
    uid_t uid;
  };
  nlohmann::json stat() const;
  static bool ss(Engine& engine, Asker asker, Answer& answer);
  // With several engines the answer comes when all have been asked.
  void stat_of_all(const Client& client);
  void ss_of_all(const Client& client, Asker asker);
  static void finish(Engine& engine, uint64_t asker, Answer& answer);

  Engine& engine_;
  Pings pings_;
  Calibration calibration_;
  const ServerIdentity* identity_ = nullptr;
};

// Puts `text` into a memfd, for a reply. False: no descriptors.
bool answer_with(const std::string& text, ipc::control::Reply& reply, ipc::DescriptorList& fds);
// Refuses with a sentence.
void refuse(Errc error, const std::string& sentence, ipc::control::Reply& reply);

}  // namespace ferry::server
