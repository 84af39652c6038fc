// The units of one cube, a fiber each: they take turns on one thread and switch at barriers and warp collectives only. What the
// text of a kernel sees of them; schedule.h is the other side.
#pragma once
#include <cstdint>

struct uint3 {
    unsigned x, y, z;
};
typedef uint3 dim3;

namespace kiln {
constexpr int WARP = 32;
typedef uint64_t Values[WARP];

enum class State { Runs, AtBarrier, AtCollective, Ended };

struct Unit {
    uint3 position;
    int index;
    State state;
    int line; // of the barrier or collective that it waits at
    void* stack_pointer;
};

extern Unit* current;
extern uint3 cube, cube_dim, cube_count;

static inline int lane() { return current->index % WARP; }

// Waits at the barrier of that line until all units of the cube do.
void wait_for_cube(int line);

// Gives `value` to the warp, waits at the collective of that line until all of its units do, and returns what the lanes gave;
// 0xFF bytes from those that a warp lacks. Good until the unit's next collective.
const Values& exchange(uint64_t value, int line);
} // namespace kiln
