// sim --seeds N --first K [--rebuild] [--replay] [--trace]: runs N seeds; prints those that fail, and ends with status 1 if there are any.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "simulation.h"

int main(int argc, char** argv) {
  CLI::App app{"Two stacks over seeded bad links in virtual time"};
  uint64_t seeds = 100, first = 1;
  ferry::sim::Options options;
  app.add_option("--seeds", seeds, "how many seeds to run");
  app.add_option("--first", first, "the first seed");
  bool rebuild = false;
  app.add_flag("--rebuild", rebuild, "destroy a stack at a random event and rebuild it from its records");
  app.add_flag("--replay", options.replay, "record both stacks and replay the recordings: the output must be identical");
  app.add_flag("--trace", options.trace, "every frame and event to standard error");
  CLI11_PARSE(app, argc, argv);
  uint64_t failed = 0, events = 0, connections = 0, datagrams = 0, rebuilt = 0;
  for (uint64_t seed = first; seed < first + seeds; ++seed) {
    options.seed = seed;
    options.rebuild_at = 0;
    if (rebuild) {  // once without, to know how many events there are
      ferry::sim::Options before = options;
      before.trace = false;
      const uint64_t n = ferry::sim::Simulation(before).run().events;
      options.rebuild_at = 1 + ferry::Rng(seed).next() % n;
    }
    const ferry::sim::Outcome outcome = ferry::sim::Simulation(options).run();
    events += outcome.events;
    connections += outcome.connections;
    datagrams += outcome.datagrams;
    rebuilt += outcome.rebuilt;
    if (outcome.faults.empty()) continue;
    ++failed;
    std::printf("seed %llu FAILS:\n", static_cast<unsigned long long>(seed));
    for (const std::string& fault : outcome.faults) std::printf("  %s\n", fault.c_str());
    std::fflush(stdout);
  }
  std::printf("%llu seeds, %llu failed; %llu events, %llu connections, %llu datagrams, %llu rebuilt\n",
              static_cast<unsigned long long>(seeds), static_cast<unsigned long long>(failed),
              static_cast<unsigned long long>(events), static_cast<unsigned long long>(connections),
              static_cast<unsigned long long>(datagrams), static_cast<unsigned long long>(rebuilt));
  return failed == 0 ? 0 : 1;
}
