// Interpreter of the packet scripts in tests/script (their README has the language).
#pragma once

#include <string>
#include <vector>

#include "support/tcp_endpoint.h"

namespace ferry::tcp::testing {

class TcpScript {
 public:
  // Runs the whole text. Returns "" or what went wrong, with the line.
  std::string run(const std::string& text);

 private:
  using Words = std::vector<std::string>;

  void line(const std::string& text);
  void set(const Words& w);
  void connected(const Words& w);
  void inject(const Words& w);
  void expect(const Words& w);
  void advance(Duration d);
  void send(const Words& w);
  void question(const Words& w);
  bool owner_call(const Words& w);
  void begin();
  void fail(const std::string& why);
  Wire parse(const Words& w);
  std::string describe(const Wire& w) const;
  std::string mismatch(const Wire& got, const Words& wanted) const;
  void check_payload(const Wire& w);
  uint32_t scaled(const Wire& w) const;

  Setup setup_;
  TcpEndpoint end_;
  Instant now_ = Instant::from_ns(1'000'000'000);
  std::vector<std::pair<std::string, int64_t>> options_;
  SeqNum irs_{5000};
  bool begun_ = false, peer_ts_ = true, peer_sack_ = true, peer_ws_ = true;
  uint32_t last_ts_seen_ = 0;
  uint64_t sent_bytes_ = 0;
  std::string error_;
};

}  // namespace ferry::tcp::testing
