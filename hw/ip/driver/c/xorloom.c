/* SPDX-License-Identifier: Apache-2.0 */
#include "xorloom.h"

#define FIELD(word, name) (((word) & XORLOOM_##name##_MASK) >> XORLOOM_##name##_SHIFT)
#define STICKY (XORLOOM_STATUS_DONE_MASK | XORLOOM_STATUS_ERROR_MASK | XORLOOM_STATUS_IDLE_MASK)

static uint32_t mapped_read(void *context, uint32_t offset)
{
    return *(volatile uint32_t *)((volatile unsigned char *)context + offset);
}

static void mapped_write(void *context, uint32_t offset, uint32_t value)
{
    *(volatile uint32_t *)((volatile unsigned char *)context + offset) = value;
}

xorloom_bus xorloom_mapped(volatile void *base)
{
    xorloom_bus bus = {mapped_read, mapped_write, NULL};

    bus.context = (void *)base; /* the accesses above are volatile again */
    return bus;
}

static uint32_t get(const xorloom_device *device, uint32_t offset)
{
    return device->bus.read(device->bus.context, offset);
}

static void put(const xorloom_device *device, uint32_t offset, uint32_t value)
{
    device->bus.write(device->bus.context, offset, value);
}

/* What a word of STATUS means for a wait. */
static int verdict(uint32_t status)
{
    if (status & XORLOOM_STATUS_ERROR_MASK)
        return (int)FIELD(status, STATUS_CAUSE);
    return status & XORLOOM_STATUS_BUSY_MASK ? XORLOOM_RUNNING : XORLOOM_OK;
}

int xorloom_probe(xorloom_device *device, const xorloom_bus *bus)
{
    uint32_t id, config, shape;

    device->bus = *bus;
    id = get(device, XORLOOM_ID);
    if (FIELD(id, ID_MAGIC) != XORLOOM_MAGIC || FIELD(id, ID_VERSION) != XORLOOM_MAP_VERSION)
        return XORLOOM_NO_DEVICE;
    config = get(device, XORLOOM_CONFIG);
    shape = get(device, XORLOOM_SHAPE);
    device->bus_bits = FIELD(config, CONFIG_BUS_BITS);
    device->planes = FIELD(config, CONFIG_PLANES);
    device->address_bits = FIELD(config, CONFIG_ADDRESS_BITS);
    device->reader = FIELD(config, CONFIG_READER);
    device->queue = FIELD(config, CONFIG_QUEUE);
    device->n_out = FIELD(shape, SHAPE_N_OUT);
    device->align_bytes = FIELD(shape, SHAPE_ALIGN_BYTES);
    device->kinds = get(device, XORLOOM_KINDS);
    device->network = get(device, XORLOOM_NETWORK);
    return XORLOOM_OK;
}

int xorloom_start(const xorloom_device *device, uint64_t address, uint32_t length)
{
    uint64_t last = device->address_bits < 64 ? ((uint64_t)1 << device->address_bits) - 1
                                              : UINT64_MAX;

    if (!device->reader || address > last || (length && last - address < length - 1))
        return XORLOOM_RANGE;
    put(device, XORLOOM_ADDRESS_LO, (uint32_t)address);
    if (device->address_bits > 32)
        put(device, XORLOOM_ADDRESS_HI, (uint32_t)(address >> 32));
    put(device, XORLOOM_LENGTH, length);
    put(device, XORLOOM_CONTROL, XORLOOM_CONTROL_START_MASK);
    return XORLOOM_OK;
}

int xorloom_check(const xorloom_device *device)
{
    return verdict(get(device, XORLOOM_STATUS));
}

int xorloom_wait(const xorloom_device *device, uint32_t polls)
{
    for (; polls; polls--) {
        int result = xorloom_check(device);

        if (result != XORLOOM_RUNNING)
            return result;
    }
    return XORLOOM_TIMEOUT;
}

int xorloom_abort(const xorloom_device *device, uint32_t polls)
{
    put(device, XORLOOM_CONTROL, XORLOOM_CONTROL_ABORT_MASK);
    for (; polls; polls--) {
        if (!(get(device, XORLOOM_STATUS) & XORLOOM_STATUS_BUSY_MASK)) {
            xorloom_clear(device);
            return XORLOOM_OK;
        }
    }
    return XORLOOM_TIMEOUT;
}

void xorloom_clear(const xorloom_device *device)
{
    put(device, XORLOOM_STATUS, STICKY);
}

void xorloom_interrupts(const xorloom_device *device, uint32_t mask)
{
    put(device, XORLOOM_IRQ_ENABLE, mask);
}

void xorloom_clear_counters(const xorloom_device *device)
{
    put(device, XORLOOM_CONTROL, XORLOOM_CONTROL_CLEAR_COUNTERS_MASK);
}

void xorloom_read_counters(const xorloom_device *device, xorloom_counters *counters)
{
    counters->cycles = get(device, XORLOOM_CYCLES);
    counters->words = get(device, XORLOOM_WORDS);
    counters->starved = get(device, XORLOOM_STARVED);
    counters->blocked = get(device, XORLOOM_BLOCKED);
    counters->stalled = get(device, XORLOOM_STALLED);
    counters->beats = get(device, XORLOOM_BEATS);
    counters->streams = get(device, XORLOOM_STREAMS);
}

/* Poll until the queue has space or there is an error. */
static int wait_space(const xorloom_device *device, uint32_t polls)
{
    for (; polls; polls--) {
        uint32_t status = get(device, XORLOOM_STATUS);

        if (status & XORLOOM_STATUS_ERROR_MASK)
            return (int)FIELD(status, STATUS_CAUSE);
        if (FIELD(status, STATUS_QUEUE_SPACE))
            return XORLOOM_OK;
    }
    return XORLOOM_TIMEOUT;
}

int xorloom_decode(const xorloom_device *device, const xorloom_descriptor *descriptors,
                   size_t count, uint32_t polls, size_t *started)
{
    int result = XORLOOM_OK;
    size_t n = 0;

    xorloom_clear(device);
    for (; n < count && result == XORLOOM_OK; n += result == XORLOOM_OK) {
        result = wait_space(device, polls);
        if (result == XORLOOM_OK)
            result = xorloom_start(device, descriptors[n].address, descriptors[n].length);
    }
    if (result == XORLOOM_OK)
        result = xorloom_wait(device, polls);
    if (started)
        *started = n;
    if (result == XORLOOM_OK) {
        xorloom_clear(device);
        return result;
    }
    /* A decoder that does not stop is the more serious error. */
    return xorloom_abort(device, polls) == XORLOOM_OK ? result : XORLOOM_TIMEOUT;
}
