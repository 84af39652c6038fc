// Runs the cubes of a launch, one after the other, in an order that a test chooses.
//
//   for each cube, until all of its units have ended:
//       for each warp:  run its units to their next stop; where all 32 wait at one collective, let them go on
//       all units wait at one barrier: let them go on;   anything else: the kernel diverged
//
// A warp whose units don't all arrive at the same collective is undefined behaviour on SM6x, which has one program counter a
// warp; a barrier that some units never reach hangs. Both are reported with the lines of the text.
//
// A missing barrier shows when a unit reads what another writes in the same stretch: the result then depends on who comes
// first, so the same launch is run with units forward, backward and shuffled, and the outputs are compared.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include <sys/mman.h>

#include "units.h"

namespace kiln {
constexpr size_t STACK_BYTES = 256 * 1024;

struct Warp {
    Values given; // to the collective that is being waited for
    Values taken; // those of the one that was reached last
};

Unit* current;
uint3 cube, cube_dim, cube_count;
static std::vector<Unit> units;
static std::vector<Warp> warps;
static void* scheduler_stack_pointer;

// Ends the program with a message for the other side.
[[noreturn]] static void fail(const char* format, ...) __attribute__((format(printf, 1, 2)));

#if !defined(__x86_64__)
#error "stacks are switched on x86-64 only"
#endif
// Saves the registers that a call must keep, changes the stack, restores them.
extern "C" void kiln_switch(void** save, void* to);
asm(R"(
.text
.type kiln_switch,@function
kiln_switch:
    pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp
    ret
)");

// Units with stacks on which `run` is about to start; it never returns.
static void create_units(size_t count, void (*run)()) {
    units.resize(count);
    warps.resize((count + WARP - 1) / WARP);
    for (size_t i = 0; i < count; i++) {
        void* stack = mmap(nullptr, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (stack == MAP_FAILED) fail("no memory for the stacks of %zu units", count);
        void** top = (void**)((char*)stack + STACK_BYTES);
        *--top = nullptr; // keeps the stack aligned as after a call
        *--top = (void*)run;
        for (int k = 0; k < 6; k++) *--top = nullptr;
        unsigned index = unsigned(i);
        uint3 position = {index % cube_dim.x, index / cube_dim.x % cube_dim.y, index / cube_dim.x / cube_dim.y};
        units[i] = {position, int(i), State::Ended, 0, top};
    }
}

static void stop(State state, int line) {
    Unit* unit = current;
    unit->state = state;
    unit->line = line;
    kiln_switch(&unit->stack_pointer, scheduler_stack_pointer);
}

void wait_for_cube(int line) { stop(State::AtBarrier, line); }

const Values& exchange(uint64_t value, int line) {
    Warp& warp = warps[current->index / WARP];
    warp.given[lane()] = value;
    stop(State::AtCollective, line);
    return warp.taken;
}

enum class Order { Forward, Backward, Shuffled };

// Numbers 0 to count - 1.
struct Sequence {
    std::vector<int> items;
    uint64_t seed;

    Sequence(int count, Order order, uint64_t start) : items(count), seed(start) {
        for (int i = 0; i < count; i++) items[i] = order == Order::Backward ? count - 1 - i : i;
        if (order == Order::Shuffled) shuffle();
    }
    // Fisher and Yates, with Knuth's MMIX generator.
    void shuffle() {
        for (size_t i = items.size(); i > 1; i--) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            std::swap(items[i - 1], items[(seed >> 33) % i]);
        }
    }
};

// How many units of [begin, end) are in each state, in words, with the lines of the text.
static void fail_divergence(const char* what, int begin, int end) {
    int barrier = 0, collective = 0, ended = 0, barrier_line = 0, collective_line = 0, other_line = 0;
    for (int i = begin; i < end; i++) {
        const Unit& unit = units[i];
        if (unit.state == State::Ended) ended++;
        int& line = unit.state == State::AtBarrier ? barrier_line : collective_line;
        if (unit.state == State::AtBarrier) barrier++;
        if (unit.state == State::AtCollective) collective++;
        if (unit.state == State::Ended) continue;
        if (line == 0) line = unit.line;
        else if (line != unit.line) other_line = unit.line;
    }
    fail("%s in cube (%u, %u, %u), units %d to %d: %d at a barrier (line %d), %d at a warp collective (line %d), %d have ended; "
         "another line with units is %d", what, cube.x, cube.y, cube.z, begin, end - 1, barrier, barrier_line, collective,
         collective_line, ended, other_line);
}

// Whether all units of [begin, end) are where the first is.
static bool are_together(int begin, int end) {
    const Unit& first = units[begin];
    for (int i = begin + 1; i < end; i++)
        if (units[i].state != first.state || (first.state != State::Ended && units[i].line != first.line)) return false;
    return true;
}

// Runs one warp until its units wait at a barrier or have ended.
static void run_warp(int index, const Sequence& lanes) {
    int begin = index * WARP, end = std::min<int>(begin + WARP, units.size());
    Warp& warp = warps[index];
    for (;;) {
        for (int l : lanes.items) {
            if (begin + l >= end || units[begin + l].state != State::Runs) continue;
            current = &units[begin + l];
            kiln_switch(&scheduler_stack_pointer, current->stack_pointer);
        }
        if (std::none_of(&units[begin], &units[begin] + (end - begin), [](const Unit& u) { return u.state == State::AtCollective; })) return;
        if (!are_together(begin, end)) fail_divergence("warp divergence", begin, end);
        memcpy(warp.taken, warp.given, sizeof(Values));
        memset(warp.given, 0xFF, sizeof(Values));
        for (int i = begin; i < end; i++) units[i].state = State::Runs;
    }
}

static void run_cube(Order order, Sequence& warp_order, Sequence& lane_order) {
    for (Unit& unit : units) unit.state = State::Runs;
    for (Warp& warp : warps) memset(&warp, 0xFF, sizeof warp);
    for (;;) {
        for (int warp : warp_order.items) run_warp(warp, lane_order);
        if (!are_together(0, units.size())) fail_divergence("divergence at a barrier", 0, units.size());
        if (units[0].state == State::Ended) return;
        for (Unit& unit : units) unit.state = State::Runs;
        if (order == Order::Shuffled) {
            warp_order.shuffle();
            lane_order.shuffle();
        }
    }
}

// Runs all cubes; `reset` prepares shared memory before each.
template <class F> static void run_cubes(Order order, uint64_t seed, F reset) {
    Sequence cubes(cube_count.x * cube_count.y * cube_count.z, order, seed);
    Sequence warp_order(warps.size(), order, seed + 1), lane_order(WARP, order, seed + 2);
    for (int index : cubes.items) {
        unsigned i = unsigned(index);
        cube = {i % cube_count.x, i / cube_count.x % cube_count.y, i / cube_count.x / cube_count.y};
        reset();
        run_cube(order, warp_order, lane_order);
    }
}
} // namespace kiln
