// `ferry replay FILE`: repeats what `ferryd --record FILE` recorded and tells whether the same comes out
// (stack/replay.h).
#include "stack/replay.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "cli/command.h"
#include "ipc/owned_fd.h"

namespace ferry::cli {
namespace {

// A file, mapped read-only.
class MappedFile {
 public:
  explicit MappedFile(const std::string& path) {
    const ipc::OwnedFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    struct stat status {};
    if (fd.get() < 0 || fstat(fd.get(), &status) != 0)
      throw Failure(kFailed, "cannot read " + path + ": " + strerror(errno));
    if (!S_ISREG(status.st_mode)) throw Failure(kFailed, path + " is not a file");
    size_ = static_cast<size_t>(status.st_size);
    if (size_ == 0) return;
    base_ = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, fd.get(), 0);
    if (base_ == MAP_FAILED) throw Failure(kFailed, "cannot read " + path + ": " + strerror(errno));
  }
  ~MappedFile() {
    if (size_ != 0) munmap(base_, size_);
  }
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  ByteSpan bytes() const { return {static_cast<const std::byte*>(base_), size_}; }

 private:
  void* base_ = nullptr;
  size_t size_ = 0;
};

const char* name_of(stack::EntryKind kind) {
  using stack::EntryKind;
  switch (kind) {
    case EntryKind::frame:
      return "a frame";
    case EntryKind::timer:
      return "a timer";
    case EntryKind::call:
      return "a call";
    case EntryKind::interface:
      return "an interface";
    case EntryKind::route:
      return "a route";
    case EntryKind::restore:
      return "a restored connection";
    case EntryKind::transmit:
      return "a transmission";
    case EntryKind::place:
      return "placed input";
    case EntryKind::discard:
      return "discarded input";
    case EntryKind::deliver:
      return "a delivery";
    case EntryKind::datagram:
      return "a datagram";
    case EntryKind::icmp_error:
      return "an ICMP error";
    case EntryKind::completed:
      return "completed output";
    case EntryKind::events:
      return "an event";
    case EntryKind::incoming:
      return "an incoming connection";
    case EntryKind::acceptable:
      return "an acceptable connection";
  }
  return "nothing";
}

std::string refusal(Errc error) {
  switch (error) {
    case Errc::version_mismatch:
      return "it was recorded by another version of ferryd";
    case Errc::malformed:
      return "it is not a recording of ferryd, or damaged";
    case Errc::no_memory:
      return "out of memory";
    default:
      return errc_name(error);
  }
}

int replay_file(const std::string& path) {
  const MappedFile file(path);
  const auto report = stack::replay(file.bytes());
  if (!report) throw Failure(kFailed, "cannot replay " + path + ": " + refusal(report.error()));
  const auto number = [](uint64_t n) { return static_cast<unsigned long long>(n); };
  printf("%llu inputs, %llu outputs of which %llu frames%s\n", number(report->inputs), number(report->outputs),
         number(report->frames_out), report->truncated ? "; the recording ends abruptly" : "");
  if (report->identical) {
    printf("identical\n");
    return 0;
  }
  if (report->recorded == report->replayed) {
    printf("different at entry %llu: %s with other contents\n", number(report->differs_at), name_of(report->recorded));
  } else {
    printf("different at entry %llu: recorded %s, replayed %s\n", number(report->differs_at), name_of(report->recorded),
           name_of(report->replayed));
  }
  return kFailed;
}

}  // namespace

void add_replay(CLI::App& app, int& status) {
  auto* command = app.add_subcommand("replay", "Repeat a recording of ferryd and check that the same comes out");
  auto path = std::make_shared<std::string>();
  command->add_option("file", *path, "What ferryd --record wrote")->type_name("FILE")->required();
  command->callback([path, &status] { status = replay_file(*path); });
}

}  // namespace ferry::cli
