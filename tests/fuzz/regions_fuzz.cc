// Regions of a client, as the server takes, names and forgets them: any descriptor, memory files of all kinds, in any order. What a name
// leads to are bytes of the file that has that number now; a name outlives its region, and then leads nowhere.
#include "server/client_regions.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <optional>
#include <vector>

#include "fuzz_input.h"

namespace {

using namespace ferry;
using fuzz::check;
namespace abi = ipc::abi;

constexpr uint64_t kPage = abi::kHugePageSize;
constexpr uint64_t kMost = 2 * kPage;  // bytes of a region
constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW;

struct File {
  int fd;
  uint64_t size;
  bool fits;      // to be a region
  bool writable;
};

// What clients may send; every page begins and ends with the file's number.
const std::vector<File>& files() {
  static const std::vector<File> all = [] {
    std::vector<File> made;
    const auto make = [&](uint64_t size, int seals, bool fits) {
      const int fd = memfd_create("region", MFD_CLOEXEC | MFD_ALLOW_SEALING);
      check(fd >= 0 && ftruncate(fd, static_cast<off_t>(size)) == 0);
      const auto number = static_cast<char>(made.size() + 1);
      for (uint64_t at = 0; at + kPage <= size; at += kPage)
        for (const uint64_t byte : {at, at + kPage - 1}) check(pwrite(fd, &number, 1, static_cast<off_t>(byte)) == 1);
      check(fcntl(fd, F_ADD_SEALS, seals) == 0);
      made.push_back({fd, size, fits, (seals & F_SEAL_WRITE) == 0});
    };
    make(kPage, kSeals, true);
    make(2 * kPage, kSeals, true);
    make(kPage, kSeals | F_SEAL_WRITE, true);
    make(kPage, F_SEAL_SHRINK, false);
    make(kPage, F_SEAL_GROW, false);
    make(kPage + 4096, kSeals, false);
    make(0, kSeals, false);
    make(3 * kPage, kSeals, false);
    int ends[2];
    check(pipe(ends) == 0);
    made.push_back({ends[0], 0, false, false});
    made.push_back({open("/dev/zero", O_RDWR | O_CLOEXEC), 0, false, false});
    made.push_back({-1, 0, false, false});
    return made;
  }();
  return all;
}

uint64_t any_offset(fuzz::FuzzInput& in) {
  switch (in.u8() % 4) {
    case 0: return in.u8() % 4 * kPage - in.u8() % 2;
    case 1: return uint64_t{in.u32()} << 32 | in.u32();
    default: return in.u32() % (2 * kMost);
  }
}
uint32_t any_length(fuzz::FuzzInput& in) { return (in.u8() & 1) != 0 ? in.u32() : 1 + in.u16(); }

struct World {
  server::Memory memory{1 << 20};
  server::ClientRegions regions{memory};
  std::array<std::optional<size_t>, abi::kMaxRegions> numbered{};  // files, by number - 1
  struct Forgotten {
    size_t file;
    buf::RegionId id;
  };
  std::vector<Forgotten> forgotten;
  std::vector<buf::RegionId> gone;  // names of regions that were unmapped

  buf::RegionId id_of(uint32_t number) { return regions.locate({0, 1, static_cast<uint16_t>(number), 0}).region; }

  static bool is_number(uint32_t number) { return number >= 1 && number <= abi::kMaxRegions; }
  bool is_there(uint32_t number) const { return is_number(number) && numbered[number - 1]; }

  void add(uint32_t number, size_t file, uint64_t most) {
    const File& f = files()[file];
    const buf::RegionId before = is_there(number) ? id_of(number) : 0;
    const bool room = before == 0 || forgotten.size() < abi::kMaxRegions;
    const Status done = regions.add(number, f.fd, most, nullptr);
    check(done.ok() == (is_number(number) && f.fits && f.size <= most && room));
    if (!done) return;
    if (before != 0) put_aside(number, before);
    numbered[number - 1] = file;
    check(id_of(number) != 0 && id_of(number) != before);
  }
  void put_aside(uint32_t number, buf::RegionId id) {
    forgotten.push_back({*numbered[number - 1], id});
    numbered[number - 1].reset();
  }
  void forget(uint32_t number) {
    const bool there = is_there(number);
    const buf::RegionId id = there ? id_of(number) : 0;
    const Status done = regions.forget(number);
    check(done.ok() == (there && forgotten.size() < abi::kMaxRegions));
    if (done) put_aside(number, id);
    check((regions.memfd(number) >= 0) == is_there(number));
  }
  void release() {
    regions.release_forgotten();
    for (const Forgotten& each : forgotten) gone.push_back(each.id);
    forgotten.clear();
  }
  // The file of a number whose bytes [offset, offset + length) there are.
  const File* holder(uint32_t number, uint64_t offset, uint32_t length) const {
    if (!is_there(number)) return nullptr;
    const File& f = files()[*numbered[number - 1]];
    return offset <= f.size && length <= f.size - offset ? &f : nullptr;
  }
  void look(uint16_t number, uint64_t offset, uint32_t length) {
    const File* f = holder(number, offset, length);
    const buf::IoDesc d = regions.locate({offset, length, number, 0});
    check((d.region != 0) == (f != nullptr));
    if (f == nullptr) return;
    check(regions.number_of(d.region) == number && d.length == length);
    const ByteSpan bytes = memory.read(d);
    check(bytes.size() == length);
    for (const uint64_t at : {offset, offset + length - 1}) {
      if (length == 0 || at >= f->size) continue;
      std::byte wanted;
      check(pread(f->fd, &wanted, 1, static_cast<off_t>(at)) == 1 && bytes[at - offset] == wanted);
    }
  }
  void put(uint16_t number, uint64_t offset, uint32_t length, std::byte value) {
    const File* f = holder(number, offset, length);
    const buf::IoDesc d = regions.locate_input({0, offset, length, number, 0});
    check(!d.empty() == (f != nullptr && f->writable && length > 0));
    if (d.empty()) return;
    const MutableByteSpan bytes = memory.write(d);
    check(bytes.size() == length);
    bytes.back() = value;
    std::byte seen;
    check(pread(f->fd, &seen, 1, static_cast<off_t>(offset + length - 1)) == 1 && seen == value);
  }
  void check_all() {
    uint64_t sum = 0;
    for (const auto& file : numbered) sum += file ? files()[*file].size : 0;
    for (const Forgotten& each : forgotten) {
      sum += files()[each.file].size;
      check(memory.read({0, 1, each.id}).size() == 1 && regions.number_of(each.id) == 0);
    }
    check(regions.mapped_bytes() == sum);
    for (const buf::RegionId id : gone) check(memory.read({0, 1, id}).empty() && regions.number_of(id) == 0);
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  World world;
  fuzz::FuzzInput in(data, size);
  for (int steps = 0; !in.empty() && steps < 200; ++steps) {
    const uint32_t number = in.u8() % 32 < 24 ? in.u8() % 4 : in.u32();
    switch (in.u8() % 6) {
      case 0: world.add(number, in.u8() % files().size(), in.u8() % 8 == 0 ? kPage : kMost); break;
      case 1: world.forget(number); break;
      case 2: world.release(); break;
      case 3: {
        const uint64_t offset = any_offset(in);
        world.look(static_cast<uint16_t>(number), offset, any_length(in));
        break;
      }
      case 4: {
        const uint64_t offset = any_offset(in);
        const uint32_t length = any_length(in);
        world.put(static_cast<uint16_t>(number), offset, length, std::byte{in.u8()});
        break;
      }
      default: {  // the client's own doing
        const File& f = files()[in.u8() % 2];
        check(fallocate(f.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, in.u8() * 4096, 4096) == 0);
      }
    }
    world.check_all();
  }
  return 0;
}
