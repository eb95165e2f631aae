// SPDX-License-Identifier: Apache-2.0
// Testbench of the IP block with a read master, for volume: memory, register port and sink of
// sim/testbenches/bus.py and sim/bandwidth/axi_memory.py, clock for clock. Python calls it.
//
// At every edge agents see what they would see in cocotb: outputs before the edge. What they write
// reaches the design after it.

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <vector>

#include "Vtop.h"
#include "verilated.h"

namespace {

enum Cause { kLatency, kRefresh, kRow, kRate, kNone };
enum Outcome { kDone, kLimit };
// Kinds of the sink's faults; see feeder.py.
enum Fault { kFine, kUser, kKeep, kData, kLast };

struct Burst {
  uint64_t address;
  uint64_t beats;
  double ready_at;
};

}  // namespace

// Mirrored by ctypes in feeder.py: 8 bytes a field.
extern "C" struct Job {
  const uint8_t* image;
  uint64_t image_bytes, base, bus_bytes, queue;
  double rate, start, refresh, refresh_every, row_miss;
  uint64_t row_bytes, one_command;
  const uint8_t* expected;       // all beats of all packets
  uint64_t beat_bytes, packets;
  const uint64_t* beats;         // of each packet
  const uint8_t* care;           // of the last beat of each packet, beat_bytes each
  const uint64_t* user;          // of the last beat
  const uint8_t* keep;           // likewise, keep_bytes each
  uint64_t keep_bytes;
  const uint8_t* whole;          // bits that count in other beats
  uint64_t whole_user;
  const uint8_t* pauses;         // of the sink, repeated
  uint64_t pauses_count, limit;
};

extern "C" struct Result {
  int64_t clock, first_read, last_beat;
  uint64_t beats, fault, fault_packet, fault_beat, fault_user, fault_last;
  uint64_t bus_cycles, reads, words, not_ready, idle;
  std::array<uint64_t, 4> waits;
};

class Feeder {
 public:
  explicit Feeder(const Job& job) : job_(job), top_(new Vtop(&context_)) {
    next_refresh_ = job.refresh_every;
    top_->aclk = 0;
    top_->aresetn = 0;
    top_->s_axil_wstrb = 0xF;
    top_->s_axil_bready = top_->s_axil_rready = 1;
    top_->m_axi_arready = 1;
    top_->eval();
    for (int clock = 0; clock < 4; clock++) edge();
    aresetn_ = 1;
    sinking_ = packet_ < job.packets;
    goes_ = tready_ = job.pauses_count == 0;
  }

  // One register access; `value` is what is read.
  int access(bool write, uint32_t offset, uint32_t* value) {
    bool address = true, data = write;
    if (write) {
      awaddr_ = offset;
      wdata_ = *value;
      awvalid_ = wvalid_ = 1;
    } else {
      araddr_ = offset;
      arvalid_ = 1;
    }
    while (edge()) {
      if (address && (write ? top_->s_axil_awready : top_->s_axil_arready)) {
        address = false;
        awvalid_ = arvalid_ = 0;
      }
      if (data && top_->s_axil_wready) {
        data = false;
        wvalid_ = 0;
      }
      if (write ? top_->s_axil_bvalid : top_->s_axil_rvalid) {
        if (!write) *value = top_->s_axil_rdata;
        return kDone;
      }
    }
    return kLimit;
  }

  // Returns in the middle of a clock, as soon as the line is 1.
  int interrupt() {
    while (!top_->irq) {
      rise();
      if (top_->irq) break;
      if (!edge()) return kLimit;
    }
    return kDone;
  }

  // Until the sink has all beats, or found a fault.
  int settle() {
    while (sinking_)
      if (!edge()) return kLimit;
    return kDone;
  }

  // Whether data is offered in any of the next clocks.
  bool offers(int clocks) {
    while (clocks-- > 0) {
      edge();
      if (top_->m_axis_tvalid) return true;
    }
    return false;
  }

  // Data and tkeep of the beat that is a fault.
  const uint8_t* wrong() const { return wrong_.data(); }

  void report(Result* result) const {
    *result = result_;
    result->clock = now_;
    if (result_.first_read >= 0) result->bus_cycles = last_word_ - result_.first_read;
    uint64_t spent = result_.words + result_.not_ready;
    for (uint64_t clocks : result_.waits) spent += clocks;
    result->idle = result->bus_cycles - spent;
  }

 private:
  // The clock's rise, if it was not yet: registers take what stands at their inputs.
  void rise() {
    if (high_) return;
    top_->aclk = 1;
    top_->eval();
    high_ = true;
  }

  // End this clock and see the next edge; false at the limit.
  bool edge() {
    if (now_ >= 0) rise();
    top_->aresetn = aresetn_;
    top_->s_axil_awaddr = awaddr_;
    top_->s_axil_wdata = wdata_;
    top_->s_axil_araddr = araddr_;
    top_->s_axil_awvalid = awvalid_;
    top_->s_axil_wvalid = wvalid_;
    top_->s_axil_arvalid = arvalid_;
    top_->m_axis_tready = tready_;
    top_->m_axi_rvalid = driven_;
    top_->m_axi_rlast = rlast_;
    top_->m_axi_rresp = rresp_;
    if (word_ != nullptr) {
      std::memcpy(&top_->m_axi_rdata, word_, job_.bus_bytes);
      word_ = nullptr;
    }
    top_->m_axi_arready = accepts_;
    top_->aclk = 0;
    top_->eval();
    high_ = false;
    now_++;
    serve();
    if (sinking_) sink();
    return now_ < static_cast<int64_t>(job_.limit);
  }

  // One clock of the memory: AxiMemory.run, where it counts from 1.
  void serve() {
    const double now = static_cast<double>(now_ + 1);
    if (offers_) {
      if (top_->m_axi_rready) {
        result_.words++;
        last_word_ = now_;
        offers_ = false;
      } else {
        result_.not_ready++;
      }
    } else if (cause_ != kNone) {
      result_.waits[cause_]++;
    }
    if (accepts_ && top_->m_axi_arvalid) {
      const uint64_t address = top_->m_axi_araddr / job_.bus_bytes * job_.bus_bytes;
      reads_.push_back({address, static_cast<uint64_t>(top_->m_axi_arlen) + 1, now + job_.start});
      result_.reads++;
      if (result_.first_read < 0) result_.first_read = now_;
    }
    double share = 1.0;
    cause_ = kNone;
    const auto because = [this](Cause cause) {
      if (cause_ == kNone) cause_ = cause;
    };
    const auto spend = [&share](double& debt) {
      const double spent = std::min(debt, share);
      debt -= spent;
      share -= spent;
    };
    if (next_refresh_ > 0 && now >= next_refresh_) {
      next_refresh_ += job_.refresh_every;
      refresh_ += job_.refresh;
    }
    if (refresh_ > 0) {
      spend(refresh_);
      cause_ = kRefresh;
    }
    if (!reads_.empty()) {
      Burst& read = reads_.front();
      if (read.ready_at > now) {
        share = 0.0;
        because(kLatency);
      } else if (job_.row_bytes && static_cast<int64_t>(read.address / job_.row_bytes) != row_) {
        if (row_ >= 0) miss_ += job_.row_miss;
        row_ = static_cast<int64_t>(read.address / job_.row_bytes);
      }
      if (miss_ > 0 && share > 0) {
        spend(miss_);
        because(kRow);
      }
      credit_ += job_.rate * share;
      if (!offers_ && credit_ >= 1 - 1e-6) {
        credit_ -= 1;
        const uint64_t at = read.address - job_.base;
        const bool inside = read.address >= job_.base && job_.image_bytes >= job_.bus_bytes &&
                            at <= job_.image_bytes - job_.bus_bytes;
        word_ = inside ? job_.image + at : zeros_.data();
        rresp_ = inside ? 0 : 3;
        read.address += job_.bus_bytes;
        rlast_ = --read.beats == 0;
        offers_ = true;
        if (rlast_) {
          const uint64_t end = read.address;
          reads_.pop_front();
          if (job_.one_command && !reads_.empty())
            reads_.front().ready_at = reads_.front().address == end ? now : now + job_.start;
        }
      }
      credit_ = std::min(credit_, 1.0);
      if (offers_)
        cause_ = kNone;
      else
        because(kRate);
    } else if (!offers_) {
      credit_ = 0.0;
      cause_ = kNone;
    }
    driven_ = offers_;
    accepts_ = reads_.size() < job_.queue;
  }

  // One clock of the sink: Sink.run.
  void sink() {
    if (goes_ && top_->m_axis_tvalid) {
      take();
      if (result_.fault != kFine) {
        sinking_ = false;
        return;
      }
    }
    if (job_.pauses_count) {
      goes_ = !job_.pauses[pause_];
      pause_ = (pause_ + 1) % job_.pauses_count;
      tready_ = goes_;
    }
  }

  void take() {
    const bool last = beat_ + 1 == job_.beats[packet_];
    const uint64_t size = job_.beat_bytes;
    const uint8_t* want = job_.expected + result_.beats * size;
    const uint8_t* care = last ? job_.care + packet_ * size : job_.whole;
    const uint8_t* got = bytes(&top_->m_axis_tdata);
    Fault fault = kFine;
    if (top_->m_axis_tuser != (last ? job_.user[packet_] : job_.whole_user)) {
      fault = kUser;
    } else if (!keeps(last)) {
      fault = kKeep;
    } else {
      for (uint64_t k = 0; k < size; k++)
        if ((got[k] ^ want[k]) & care[k]) fault = kData;
      if (fault == kFine && static_cast<bool>(top_->m_axis_tlast) != last) fault = kLast;
    }
    if (fault != kFine) {
      result_.fault = fault;
      result_.fault_packet = packet_;
      result_.fault_beat = beat_;
      result_.fault_user = top_->m_axis_tuser;
      result_.fault_last = top_->m_axis_tlast;
      wrong_.assign(got, got + size);
#ifdef HAS_KEEP
      const uint8_t* kept = bytes(&top_->m_axis_tkeep);
      wrong_.insert(wrong_.end(), kept, kept + job_.keep_bytes);
#endif
      return;
    }
    result_.beats++;
    result_.last_beat = now_;
    beat_++;
    if (last) {
      packet_++;
      beat_ = 0;
      sinking_ = packet_ < job_.packets;
    }
  }

  bool keeps(bool last) const {
#ifdef HAS_KEEP
    const uint8_t* got = bytes(&top_->m_axis_tkeep);
    if (last) return !std::memcmp(got, job_.keep + packet_ * job_.keep_bytes, job_.keep_bytes);
    for (uint64_t bit = 0; bit < job_.beat_bytes; bit++)
      if (!(got[bit / 8] >> bit % 8 & 1)) return false;
#endif
    return true;
  }

  // Verilator's types are little endian words, whatever their width.
  template <typename Port>
  static const uint8_t* bytes(const Port* port) {
    return reinterpret_cast<const uint8_t*>(port);
  }

  Job job_;
  VerilatedContext context_;
  std::unique_ptr<Vtop> top_;
  Result result_{0, -1, 0, 0, kFine, 0, 0, 0, 0, 0, 0, 0, 0, 0, {}};
  int64_t now_ = -1, last_word_ = 0, row_ = -1;
  bool high_ = false;
  // What the agents drive, after the next edge.
  uint32_t awaddr_ = 0, wdata_ = 0, araddr_ = 0;
  bool aresetn_ = false, awvalid_ = false, wvalid_ = false, arvalid_ = false, tready_ = false;
  bool driven_ = false, rlast_ = false, accepts_ = true;
  uint8_t rresp_ = 0;
  const uint8_t* word_ = nullptr;
  std::array<uint8_t, 128> zeros_{};
  // Memory.
  std::deque<Burst> reads_;
  bool offers_ = false;
  Cause cause_ = kNone;
  double next_refresh_ = 0, refresh_ = 0, miss_ = 0, credit_ = 0;
  // Sink.
  bool sinking_ = false, goes_ = false;
  uint64_t packet_ = 0, beat_ = 0, pause_ = 0;
  std::vector<uint8_t> wrong_;
};

extern "C" {
Feeder* feeder_new(const Job* job) { return new Feeder(*job); }
void feeder_delete(Feeder* feeder) { delete feeder; }
int feeder_access(Feeder* feeder, int write, uint32_t offset, uint32_t* value) {
  return feeder->access(write, offset, value);
}
int feeder_interrupt(Feeder* feeder) { return feeder->interrupt(); }
int feeder_settle(Feeder* feeder) { return feeder->settle(); }
int feeder_offers(Feeder* feeder, int clocks) { return feeder->offers(clocks); }
void feeder_report(const Feeder* feeder, Result* result) { feeder->report(result); }
const uint8_t* feeder_wrong(const Feeder* feeder) { return feeder->wrong(); }
}
