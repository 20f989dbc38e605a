// `ferry ping`: ICMP echo sent by ferryd itself, in the manner of ping(8).
#include <arpa/inet.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <nlohmann/json.hpp>

#include "cli/admin.h"
#include "cli/command.h"

namespace ferry::cli {
namespace {

struct Options {
  std::string socket;
  std::string address;
  uint32_t count = 4;
  uint32_t size = 56;
  double interval_s = 1;
  double timeout_s = 1;
};

std::atomic<bool> g_stop{false};
void on_interrupt(int) { g_stop = true; }

struct Tally {
  uint32_t sent = 0, received = 0;
  double minimum = 0, maximum = 0, sum = 0;  // microseconds

  void add(double rtt_us) {
    minimum = received == 0 ? rtt_us : std::min(minimum, rtt_us);
    maximum = std::max(maximum, rtt_us);
    sum += rtt_us;
    ++received;
  }
};

// One echo; returns true if it was answered.
void ping_once(Admin& admin, const Options& options, uint32_t sequence, Tally& tally) {
  const auto timeout_ms = static_cast<uint32_t>(options.timeout_s * 1000);
  const std::string question = "ping " + options.address + " " + std::to_string(sequence) + " " +
                               std::to_string(options.size) + " " + std::to_string(timeout_ms);
  ++tally.sent;
  const auto answer =
      nlohmann::json::parse(admin.ask_text(question, std::chrono::milliseconds(timeout_ms + 5000)), nullptr, false);
  if (!answer.is_object()) throw Failure(kFailed, "ferryd's answer is not JSON");
  if (answer.contains("error") || !answer.contains("rtt_us")) {
    printf("no answer: icmp_seq=%u %s\n", sequence, answer.value("error", std::string("unknown")).c_str());
  } else {
    const double rtt_us = answer.value("rtt_us", 0.0);
    tally.add(rtt_us);
    printf("%u bytes from %s: icmp_seq=%u ttl=%d time=%.3f ms\n", options.size + 8, options.address.c_str(), sequence,
           answer.value("ttl", 0), rtt_us / 1000);
  }
  fflush(stdout);
}

void sleep_for(double seconds) {
  timespec pause{static_cast<time_t>(seconds), static_cast<long>((seconds - static_cast<time_t>(seconds)) * 1e9)};
  nanosleep(&pause, nullptr);  // an interrupt ends it, and the loop looks at g_stop
}

int ping(const Options& options) {
  in_addr parsed{};
  if (inet_pton(AF_INET, options.address.c_str(), &parsed) != 1) {
    throw Failure(kUsage, "not an IPv4 address: " + options.address);
  }
  struct sigaction action {};
  action.sa_handler = on_interrupt;
  sigaction(SIGINT, &action, nullptr);

  Admin admin(options.socket);
  Tally tally;
  for (uint32_t sequence = 1; !g_stop && (options.count == 0 || sequence <= options.count); ++sequence) {
    if (sequence > 1) sleep_for(options.interval_s);
    if (!g_stop) ping_once(admin, options, sequence, tally);
  }
  const double lost = tally.sent == 0 ? 0 : 100.0 * (tally.sent - tally.received) / tally.sent;
  printf("%u sent, %u received, %.0f%% lost", tally.sent, tally.received, lost);
  if (tally.received > 0) {
    printf("; round trip min/avg/max %.3f/%.3f/%.3f ms", tally.minimum / 1000, tally.sum / tally.received / 1000,
           tally.maximum / 1000);
  }
  printf("\n");
  return tally.received > 0 ? 0 : kFailed;
}

}  // namespace

void add_ping(CLI::App& app, int& status) {
  auto* command = app.add_subcommand("ping", "Send ICMP echo requests from Ferry");
  auto options = std::make_shared<Options>();
  add_socket_option(*command, options->socket);
  command->add_option("address", options->address, "IPv4 address")->type_name("ADDRESS")->required();
  command->add_option("-c,--count", options->count, "How many, 0: until interrupted")
      ->type_name("N")
      ->capture_default_str();
  command->add_option("-s,--size", options->size, "Payload in bytes")
      ->check(CLI::Range(0, 65507))
      ->type_name("BYTES")
      ->capture_default_str();
  command->add_option("-i,--interval", options->interval_s, "Pause between requests")
      ->check(CLI::Range(0.0, 3600.0))
      ->type_name("SECONDS")
      ->capture_default_str();
  command->add_option("-W,--timeout", options->timeout_s, "Wait for an answer")
      ->check(CLI::Range(0.001, 60.0))
      ->type_name("SECONDS")
      ->capture_default_str();
  command->callback([options, &status] { status = ping(*options); });
}

}  // namespace ferry::cli
