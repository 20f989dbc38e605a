// What a send and a receive cost the client: Socket::send / receive on a stream, with the server's half of the rings done inline by
// the same thread (its cost is in the figures: a few tens of nanoseconds), no system call on the way.
//   ninja channel_cost && bin/channel_cost
#include <benchmark/benchmark.h>

#include <string>

#include "client/socket.h"
#include "unit/client/fake_server.h"

namespace ferry::client::test {
namespace {

// One connected socket; the server thread stands still, awake, as long as this lives.
class Bench {
 public:
  Bench() : server_(64 << 20) {
    k_ = socket_.open(abi::kKindTcp, false, true, true);
    socket_.connect(k_, make_address(0x0a090002, 80), false);
    server_.mutex.lock();
    ipc::end_idle(server_.channels.back()->map.header(), 0);
    server_.send_buffer = 4 << 20;
    server_.publish(fake());
  }
  ~Bench() {
    server_.mutex.unlock();
    socket_.close();
    ::close(k_);
  }
  FakeSocket& fake() { return server_.last(); }
  ipc::ChannelMap& map() { return server_.channels.back()->map; }

  // The server: takes what is in the ring and completes it.
  void serve_output() {
    abi::SocketShared& w = fake().shared();
    const uint32_t n = *fake().tx.available(w.tx_produced);
    for (uint32_t i = 0; i < n; ++i) fake().completed += fake().tx.peek(w.tx, i).length;
    fake().tx.advance(w.tx_taken, n);
    store_release(w.tx_completed, fake().completed);
  }
  // The server: puts `length` bytes at the start of the input pool into the ring.
  void deliver(uint32_t length) {
    abi::SocketShared& w = fake().shared();
    fake().rx.push(w.rx, w.rx_produced, {map().layout().input.offset, length, 0, 0});
    store_relaxed(w.rx_report_at, ~uint64_t{0});
    ipc::signal_socket(w, 0, map().queues(), 0, [](uint32_t) {});
  }

  FakeServer server_;
  Socket socket_;
  int k_ = -1;
};

void send_stream(benchmark::State& state) {
  Bench bench;
  std::string data(static_cast<size_t>(state.range(0)), 's');
  const iovec v{data.data(), data.size()};
  SendRequest request;
  request.data = {&v, 1};
  for (auto _ : state) {
    if (bench.socket_.send(bench.k_, request) != static_cast<long>(data.size())) state.SkipWithError("short send");
    bench.serve_output();
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(send_stream)->Arg(1)->Arg(64)->Arg(1448)->Arg(16384)->Arg(131072);

void receive_stream(benchmark::State& state) {
  Bench bench;
  const auto size = static_cast<uint32_t>(state.range(0));
  std::string data(size, '?');
  const iovec v{data.data(), data.size()};
  ReceiveRequest request;
  request.data = {&v, 1};
  for (auto _ : state) {
    bench.deliver(size);
    if (bench.socket_.receive(bench.k_, request) != state.range(0)) state.SkipWithError("short receive");
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(receive_stream)->Arg(1)->Arg(64)->Arg(1448)->Arg(16384)->Arg(65536);

void readiness_of_idle_socket(benchmark::State& state) {
  Bench bench;
  for (auto _ : state) benchmark::DoNotOptimize(bench.socket_.readiness(bench.k_));
}
BENCHMARK(readiness_of_idle_socket);

void pool_block(benchmark::State& state) {
  auto pool = ipc::Pool::create({0, 64 << 20});
  for (auto _ : state) pool->release(pool->allocate(static_cast<uint32_t>(state.range(0)))->offset);
}
BENCHMARK(pool_block)->Arg(4096)->Arg(65536);

void doorbell(benchmark::State& state) {
  auto header = std::make_unique<abi::ChannelHeader>();
  for (auto _ : state) {
    benchmark::DoNotOptimize(ipc::ring_doorbell(*header, 0, 77));
    ipc::take_slots(header->doorbell[0], 4096, [](uint32_t) {});
  }
}
BENCHMARK(doorbell);

}  // namespace
}  // namespace ferry::client::test

BENCHMARK_MAIN();
