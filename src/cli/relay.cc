// `ferry relay IF1 IF2`: joins two interfaces through a bad path (link/relay.h is the engine).
#include "link/relay.h"

#include <CLI/CLI.hpp>
#include <atomic>
#include <csignal>
#include <cstdio>

#include "cli/command.h"

namespace ferry::cli {
namespace {

// What a person types for one direction; percentages and milliseconds.
struct Path {
  double loss = 0, duplicate = 0, corrupt = 0, reorder = 0;
  double hold_ms = 1, delay_ms = 0, jitter_ms = 0, rate_mbit = 0;
};

struct Options {
  std::string first, second;
  Path path;
  std::string direction = "both";
  uint64_t seed = 1;
  double report_s = 0;
};

std::atomic<bool> g_stop{false};
void on_interrupt(int) { g_stop = true; }

Duration milliseconds(double ms) { return Duration::ns(static_cast<int64_t>(ms * 1e6)); }
uint32_t millionths(double percent) { return static_cast<uint32_t>(percent * 1e4); }

link::Impairment impairment_of(const Path& path) {
  link::Impairment result;
  result.loss = millionths(path.loss);
  result.duplicate = millionths(path.duplicate);
  result.corrupt = millionths(path.corrupt);
  result.reorder = millionths(path.reorder);
  result.reorder_hold = milliseconds(path.hold_ms);
  result.delay = milliseconds(path.delay_ms);
  result.jitter = milliseconds(path.jitter_ms);
  result.rate_bits = static_cast<uint64_t>(path.rate_mbit * 1e6);
  return result;
}

void report(const char* way, const link::Counters& in, const link::Counters& out, const link::ImpairCounters& path) {
  const auto number = [](uint64_t n) { return static_cast<unsigned long long>(n); };
  printf(
      "%s: in %llu out %llu lost %llu duplicated %llu corrupted %llu reordered %llu overflowed %llu malformed %llu\n",
      way, number(in.rx_frames), number(out.tx_frames), number(path.lost), number(path.duplicated),
      number(path.corrupted), number(path.reordered), number(path.overflowed), number(path.malformed));
}

void report(const Options& options, const link::RelayCounters& counters) {
  report((options.first + " -> " + options.second).c_str(), counters.first, counters.second, counters.forth);
  report((options.second + " -> " + options.first).c_str(), counters.second, counters.first, counters.back);
  fflush(stdout);
}

int relay(const Options& options) {
  link::RelayOptions settings;
  settings.seed = options.seed;
  if (options.direction != "back") settings.forth = impairment_of(options.path);
  if (options.direction != "forth") settings.back = impairment_of(options.path);
  auto opened = link::Relay::open(options.first, options.second, settings);
  if (!opened) throw Failure(kFailed, opened.error());

  struct sigaction action {};
  action.sa_handler = on_interrupt;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  const bool reports = options.report_s > 0;
  (*opened)->run(g_stop, reports ? milliseconds(options.report_s * 1000) : Duration::seconds(3600),
                 [&](const link::RelayCounters& counters) {
                   if (reports) report(options, counters);
                 });
  report(options, (*opened)->counters());
  return 0;
}

}  // namespace

void add_relay(CLI::App& app, int& status) {
  auto* command = app.add_subcommand(
      "relay", "Join two interfaces through a path that loses, repeats, reorders, delays or corrupts");
  auto options = std::make_shared<Options>();
  Path& path = options->path;
  const auto percent = CLI::Range(0.0, 100.0);
  const auto time = CLI::Range(0.0, 60000.0);
  command->add_option("interface1", options->first, "One interface")->type_name("IF1")->required();
  command->add_option("interface2", options->second, "The other interface")->type_name("IF2")->required();
  command->add_option("--loss", path.loss, "Frames that are lost")->check(percent)->type_name("PERCENT");
  command->add_option("--duplicate", path.duplicate, "Frames that arrive twice")->check(percent)->type_name("PERCENT");
  command->add_option("--corrupt", path.corrupt, "Frames with a wrong bit")->check(percent)->type_name("PERCENT");
  command->add_option("--reorder", path.reorder, "Frames that later ones overtake")
      ->check(percent)
      ->type_name("PERCENT");
  command->add_option("--hold", path.hold_ms, "How long a reordered frame is held")
      ->check(time)
      ->type_name("MS")
      ->capture_default_str();
  command->add_option("--delay", path.delay_ms, "Delay of every frame")->check(time)->type_name("MS");
  command->add_option("--jitter", path.jitter_ms, "Largest random addition to the delay")->check(time)->type_name("MS");
  command->add_option("--rate", path.rate_mbit, "Rate of the path, 0: unlimited")
      ->check(CLI::Range(0.0, 1e6))
      ->type_name("MBIT/S");
  command->add_option("--direction", options->direction, "Which way is bad: forth (IF1 to IF2), back or both")
      ->check(CLI::IsMember({"forth", "back", "both"}))
      ->capture_default_str();
  command->add_option("--seed", options->seed, "Seed of all chance")->capture_default_str();
  command->add_option("--report", options->report_s, "Print counters so often")
      ->check(CLI::Range(0.0, 3600.0))
      ->type_name("SECONDS");
  command->callback([options, &status] { status = relay(*options); });
}

}  // namespace ferry::cli
