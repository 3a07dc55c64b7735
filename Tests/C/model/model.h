/*
 * model.h - what a selector must say of the simulated world, by the contract of selectors.h.
 *
 * The functions are to be called beside those of the library. A model is as certain as the
 * contract: where that leaves something open, it allows more than it requires.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MODEL_H
#define MODEL_H

#include "world.h"

#define WAITABLE (SEL_READ | SEL_WRITE | SEL_PRIORITY)

/* Room for all that a kernel set may have, with what is left of closed files. */
enum { ROOMY = NUMBERS * FILES };

/*
 * What a registration may be attached to. Where the kernel watches numbers, to its number. Where it
 * watches files (epoll), to the file that had the number when it was last told about it, or to the
 * number if that had none or one that epoll does not take; with kqueue likewise, until the number is closed;
 * and if the library may have built its kernel set anew, nobody knows, to any of several. A plug-in may
 * do either, so that a registration whose number was given away may be attached to anything or nothing,
 * until the kernel is told again.
 */
struct watch {
    uint64_t files; /* a bit for each of them */
    bool number;
    bool nothing; /* the file is no more */
};

/* What the kernel watches for once it has itself ended a one-shot: nothing, but it has the file. */
#define SPENT SEL_ONESHOT

struct registration {
    uint32_t events; /* 0: not registered */
    void *data;
    unsigned place;     /* in the order of registration */
    uint32_t installed; /* what the kernel was told; 0: not to watch */
    bool may_be_told;   /* of what has changed since, early, when the set was built anew */
    bool disarmed;      /* reported once, which was all */
    bool is_vague;      /* SEL_EDGE, and its number was given away: nothing is required */
    struct watch watch;
    unsigned seen; /* the bits of its file when that was looked at last */
    unsigned owed; /* with SEL_EDGE: bits that are new since the last report */
};

extern struct model {
    struct registration registrations[NUMBERS];
    uint32_t capabilities;
    bool watches_files;    /* it is epoll */
    bool watches_both;     /* it is kqueue: a file, as long as it has the number */
    bool may_lose_numbers; /* it is /dev/poll: what has lost its file may not be watched any more */
    bool holds_files;  /* it may be neither: what has lost its number may be watched, and held */
    bool is_select;    /* which cannot see everything */
    bool is_nested;    /* somebody has its descriptor, so that each change is told at once */
    bool is_inherited; /* the kernel set is still that of the parent */
    struct left {
        unsigned may, must;
    } left[FILES];       /* bits that the kernel may watch, and must, for nobody any more */
    uint64_t reported;   /* the files that are left and have been reported, if they are */
    bool may_be_rebuilt; /* it may have reported one, and the library then builds the set anew */
    enum { SLEEPS, MAY_WAKE, WAKES } wake;
    unsigned places;
} model;

void model_begin(const sel_backend_info *backend, bool is_nested);

struct registration *model_find(int number); /* or NULL */
int model_count(void);

/* A successful call of the library. */
void model_register(int number, uint32_t events, void *data);
void model_modify(int number, uint32_t events, void *data);
void model_unregister(int number);

/* A number has another file now, or none; the file that has ended by that, or NONE. */
void model_renamed(int number, int ended);

/* At the end of each operation: looks for what is new. */
void model_observe(void);

/* In the child of a fork. */
void model_inherit(void);

/* A select begins. */
void model_select(void);

/* Whether an event may be reported by it, and whether one of this number has to be. */
bool model_allows(int number, const sel_event *event);
bool model_requires(int number);

/* It was. */
void model_reported(int number);

/* A select is over, and has returned so many events. */
void model_selected(int count, int max);

/* Whether the selector's own descriptor must be readable, or must not. */
bool model_requires_readable(void);
bool model_allows_readable(void);

#endif
