// `ferry capture`: what ferryd receives and sends, same-host traffic included, as a pcapng file (readable by tshark).
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>

#include "cli/admin.h"
#include "cli/command.h"
#include "link/capture_filter.h"
#include "link/pcapng_blocks.h"

namespace ferry::cli {
namespace {

struct Options {
  std::string socket, file, filter;
  uint64_t count = 0;
  double seconds = 0;
};

volatile sig_atomic_t g_stop = 0;
void on_interrupt(int) { g_stop = 1; }

class Writer {
 public:
  Writer(int fd, const Options& options, const link::CaptureFilter& filter)
      : fd_(fd), options_(options), filter_(filter) {}

  // A whole block; `frame`: the one in it, or nullptr.
  void on_block(ByteSpan block, const link::CapturedFrame* frame) {
    if (full()) return;
    if (frame != nullptr) {
      if (!filter_.matches(frame->bytes, frame->original_length)) return;
      ++packets_;
    }
    while (!block.empty()) {
      const ssize_t n = write(fd_, block.data(), block.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) throw Failure(kFailed, "cannot write to " + options_.file + ": " + strerror(errno));
      block = block.subspan(static_cast<size_t>(n));
    }
  }
  bool full() const { return options_.count != 0 && packets_ >= options_.count; }
  uint64_t packets() const { return packets_; }

 private:
  int fd_;
  const Options& options_;
  const link::CaptureFilter& filter_;
  uint64_t packets_ = 0;
};

// Milliseconds until `deadline`, or -1 for none.
int left_until(const std::chrono::steady_clock::time_point& deadline, double seconds) {
  if (seconds <= 0) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
  return left <= 0 ? 0 : static_cast<int>(left);
}

void copy_blocks(int source, const Options& options, Writer& writer) {
  constexpr size_t kPipeBytes =
      1 << 20;  // the most that a pipe holds (pipe(7)): what may be left after the end was asked for
  const auto deadline =
      std::chrono::steady_clock::now() +
      std::chrono::duration_cast<std::chrono::steady_clock::duration>(std::chrono::duration<double>(options.seconds));
  link::PcapngDecoder decoder;
  std::vector<std::byte> buffer(1 << 18);
  size_t drained = 0;
  while (!writer.full() && drained < kPipeBytes) {
    const int left = g_stop != 0 ? 0 : left_until(deadline, options.seconds);
    pollfd waiting{source, POLLIN, 0};
    const int ready = poll(&waiting, 1, left);
    if (ready < 0 && errno == EINTR) continue;
    if (ready < 0) throw Failure(kFailed, std::string("poll: ") + strerror(errno));
    if (ready == 0) return;  // the time is up or we were interrupted, and the pipe is empty
    const ssize_t n = read(source, buffer.data(), buffer.size());
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (n <= 0) return;  // ferryd ended it
    if (left == 0) drained += static_cast<size_t>(n);
    decoder.feed(ByteSpan(buffer).first(static_cast<size_t>(n)));
    for (ByteSpan block; !(block = decoder.next_block()).empty();) writer.on_block(block, decoder.frame());
    if (!decoder.error().empty()) throw Failure(kFailed, "ferryd's capture stream is broken: " + decoder.error());
  }
}

int capture(const Options& options) {
  auto filter = link::CaptureFilter::compile(options.filter);  // a wrong one is told before the file is made
  if (!filter) throw Failure(kUsage, "not a filter expression: " + options.filter + " (" + filter.error() + ")");
  Admin admin(options.socket);
  const ipc::OwnedFd source = admin.ask("capture");
  const bool to_stdout = options.file == "-";
  const ipc::OwnedFd file(to_stdout ? dup(STDOUT_FILENO)
                                    : open(options.file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (file.get() < 0) throw Failure(kFailed, "cannot write " + options.file + ": " + strerror(errno));

  struct sigaction action {};
  action.sa_handler = on_interrupt;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  if (!to_stdout) fprintf(stderr, "capturing to %s; interrupt to end\n", options.file.c_str());
  Writer writer(file.get(), options, *filter);
  copy_blocks(source.get(), options, writer);
  fprintf(stderr, "%llu packets\n", static_cast<unsigned long long>(writer.packets()));
  return 0;
}

}  // namespace

void add_capture(CLI::App& app, int& status) {
  auto* command = app.add_subcommand("capture", "Write what ferryd receives and sends to a pcapng file");
  auto options = std::make_shared<Options>();
  add_socket_option(*command, options->socket);
  command->add_option("-w,--write", options->file, "The file; - for standard output")
      ->type_name("FILE.pcapng")
      ->required();
  command->add_option("--filter", options->filter, "Only packets that match (pcap-filter(7)), e.g. 'tcp port 80'")
      ->type_name("EXPR");
  command->add_option("-c,--count", options->count, "End after so many packets")->type_name("N");
  command->add_option("--duration", options->seconds, "End after so long")
      ->check(CLI::Range(0.0, 1e6))
      ->type_name("SECONDS");
  command->callback([options, &status] { status = capture(*options); });
}

}  // namespace ferry::cli
