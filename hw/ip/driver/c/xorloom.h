/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Driver of the xorloom decoder. C99, no allocation, no operating system.
 *
 * xorloom_registers.h is generated from the register map (xorloom.hw.ip.csr.c_header).
 * Functions that can fail return 0 if all is well, a positive enum xorloom_cause if the
 * decoder gave up or refused, or a negative enum xorloom_result.
 */
#ifndef XORLOOM_H
#define XORLOOM_H

#include <stddef.h>
#include <stdint.h>

#include "xorloom_registers.h"

#ifdef __cplusplus
extern "C" {
#endif

enum xorloom_result {
    XORLOOM_OK = 0,
    XORLOOM_NO_DEVICE = -1, /* the ID register has another value */
    XORLOOM_TIMEOUT = -2,   /* more than the given number of polls */
    XORLOOM_RANGE = -3,     /* the descriptor lies outside the address space */
    XORLOOM_RUNNING = -4    /* something is still queued or in work */
};

/* Access to the registers; offset is in bytes. */
typedef struct {
    uint32_t (*read)(void *context, uint32_t offset);
    void (*write)(void *context, uint32_t offset, uint32_t value);
    void *context;
} xorloom_bus;

/* How the decoder was built, and its bus. */
typedef struct {
    xorloom_bus bus;
    uint32_t bus_bits;
    uint32_t n_out;
    uint32_t planes;
    uint32_t levels;       /* 1: puts out levels, 8 bits for each weight; 0: codes */
    uint32_t planar;       /* 1: output beats are planar; 0: packed */
    uint32_t kinds;        /* bit k: index kind k is understood */
    uint32_t network;      /* network id of the value codec */
    uint32_t reader;       /* 1: takes descriptors */
    uint32_t address_bits;
    uint32_t align_bytes;
    uint32_t queue;
} xorloom_device;

/* A memory stream: its address and its length in bytes, whole bus words. */
typedef struct {
    uint64_t address;
    uint32_t length;
} xorloom_descriptor;

typedef struct {
    uint32_t cycles;
    uint32_t words;
    uint32_t starved;
    uint32_t blocked;
    uint32_t stalled;
    uint32_t beats;
    uint32_t streams;
} xorloom_counters;

/* Registers that are memory; base is the address of the first. */
xorloom_bus xorloom_mapped(volatile void *base);

/* Check the ID and read how the decoder was built. */
int xorloom_probe(xorloom_device *device, const xorloom_bus *bus);

/* Queue one descriptor. xorloom_check reports a refusal, as a cause. */
int xorloom_start(const xorloom_device *device, uint64_t address, uint32_t length);

/* Read STATUS once: 0 if everything that was started has ended, XORLOOM_RUNNING, or a cause. */
int xorloom_check(const xorloom_device *device);

/* Poll until everything that was started has ended. */
int xorloom_wait(const xorloom_device *device, uint32_t polls);

/* Give up everything, wait until the decoder is idle, clear errors. */
int xorloom_abort(const xorloom_device *device, uint32_t polls);

/* Clear the sticky bits of STATUS, including errors. */
void xorloom_clear(const xorloom_device *device);

/* Interrupt while any of these bits of STATUS is 1: XORLOOM_IRQ_ENABLE_*_MASK, 0 for none. */
void xorloom_interrupts(const xorloom_device *device, uint32_t mask);

void xorloom_clear_counters(const xorloom_device *device);
void xorloom_read_counters(const xorloom_device *device, xorloom_counters *counters);

/*
 * Decode all descriptors: keep the queue full, wait for the end. After an error everything is
 * given up, and *started, if not NULL, says how many descriptors had been queued by then.
 */
int xorloom_decode(const xorloom_device *device, const xorloom_descriptor *descriptors,
                   size_t count, uint32_t polls, size_t *started);

/*
 * What a DMA engine stores of the output, a stream after the other.
 *
 * xorloom_stored_bytes: bytes of a stream of so many weights. A buffer needs one group more, of
 * up to 9 bytes, since a stream that is given up ends with a group that means nothing; of planar
 * beats, one beat more.
 *
 * xorloom_weight: whether a weight of a stored stream is kept, 1 or 0; *code is its code or level.
 */
size_t xorloom_stored_bytes(const xorloom_device *device, size_t weights);
int xorloom_weight(const xorloom_device *device, const uint8_t *stored, size_t weight,
                   int32_t *code);

#ifdef __cplusplus
}
#endif

#endif /* XORLOOM_H */
