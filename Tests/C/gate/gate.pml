/*
 * The gate, Sources/SelectorsCore/Engine/Gate.swift, and what its users do with it, as a model that
 * spin(1) searches state by state. check.sh runs it.
 *
 * What is done here has the name of the function that does it there, or a comment with that name. The
 * comments there say why it is done, the ones here how the model differs.
 *
 * A step is what no other thread can come between: a d_step or an atomic. One step is
 *   - a change of the word by a loop of compareExchange; the ones that fail have no effect;
 *   - a section of the mutex with one look at the word or one change of it; what else is in it
 *     concerns nobody without the mutex;
 *   - what the holder of the lock does to what the lock guards, together with what comes before.
 * releaseToSleepers() looks at the word and changes it later, and calls may enter between the two.
 * That matters to the closer alone: where there is one it takes two steps, with the mutex held
 * between them, and one step elsewhere. The mutex is taken to be fair to those who wait for it.
 *
 * Left out: the child of a fork, where there is one thread and so nothing to search; the order in which
 * one processor sees what another has written; failures of system calls; a lock asked for by the
 * thread that has it, or by one that forks within a call; the last look of a select whose time is over.
 */

/*
 * Faults, each put in by a switch:
 *
 *     BROADCAST              who frees the lock wakes all sleepers, whatever they sleep for
 *     REPLACED_UNDER_WAITER  rebuildIfNeeded() does not evacuate
 *     ENTERED_UNCOUNTED      acquire() does not count the call
 *     PARK_CLEARS            park() clears isWoken, in a section of the mutex of its own
 *     DRAIN_UNTOLD           takeWakeUp() does not pass on an evacuation
 *     WAITING_ENDS_EARLY     endWait() counts as entered, not as waiting, until it has the lock
 *     REQUEST_FORGOTTEN      rebuildIfNeeded() does not repeat a request
 *     DUTIES_UNTOLD          unlock() does not leave attention where there are duties
 *     REQUEST_UNCOUNTED      request() marks the request in one step and counts its write in the next
 *     LOOK_UNTOLD            a select that ends does not pass on a look at what poll(2) watches
 *     LOOK_FORGOTTEN         one with no more room for that look forgets it
 *     NEVER_HANDED_OVER      a thread that is late is not handed the lock
 *     TURNS_IGNORED          mayWait() does not look for others' turns
 *
 * The first three were in version 1.0.0; REQUEST_UNCOUNTED and those of looks were found here.
 */

/* The configuration; check.sh sets it. */
#ifndef WAITERS
#define WAITERS 2   /* threads that select, again and again */
#endif
#ifndef SELECTS
#define SELECTS 0   /* how often the first of them does; 0: until the selector is closed */
#endif
#ifndef TIMED
#define TIMED 0     /* how many of them have selects with a limit; it is reached once for each */
#endif
#ifndef SHARED
#define SHARED 0    /* the backend is concurrent */
#endif
#ifndef LEVEL
#define LEVEL 1     /* the wake-up is level-triggered; else each write is reported once */
#endif
#ifndef EVENTS
#define EVENTS 0    /* events that the kernel will have */
#endif
#ifndef ENDLESS
#define ENDLESS 0   /* it always has one, and the changers go on for ever */
#endif
#ifndef CHANGERS
#define CHANGERS 0  /* threads that register, modify or unregister */
#endif
#ifndef REFUSED
#define REFUSED 0   /* the changers register what is ready and left to poll(2) */
#endif
#ifndef REBUILDERS
#define REBUILDERS 0 /* threads that find the kernel set to be built anew */
#endif
#ifndef WAKERS
#define WAKERS 0    /* threads that call sel_wakeup() */
#endif
#ifndef CLOSERS
#define CLOSERS 0   /* 1: a thread closes the selector and frees it */
#endif
#ifndef FORKS
#define FORKS 0     /* 1: a thread forks */
#endif

#define THREADS (WAITERS + CHANGERS + REBUILDERS + CLOSERS)
#define NOBODY 255

/*
 * The properties. One that does not hold is named by the assertion that fails. They are no part of
 * the state.
 */
hidden byte memory_is_there = true;             /* nobody uses it after it was freed */
hidden byte kernel_set_is_empty = true;         /* when it is replaced, or changed if not shared */
hidden byte one_thread_in_kernel_set = true;    /* which is not shared */
hidden byte duties_are_seen = true;             /* nobody begins to wait at once if there are some */
hidden byte lock_is_owned = true;               /* by who gives it back */
hidden byte nobody_is_stuck = true;             /* when all is at rest */
hidden byte no_wake_up_is_lost = true;          /* likewise, while somebody waits */
hidden byte no_ready_file_is_missed = true;     /* likewise */

inline check(property, condition) {
    property = (condition);
    assert(property)
}

#define touch check(memory_is_there, !freed)

/* ---- Gate.Word */

bool locked, attention, queued;
byte entered, waiting;

#define nobodyIsHere (!locked && !attention && !queued && entered == 0 && waiting == 0)

/* ---- Gate.Sleeper, one for each thread; at rest all is as here */

#define NONE 0
#define LOCKERS 1
#define EVACUATORS 2
#define TURNS 3
#define CLOSER 4

byte queue[THREADS];
bool isWoken[THREADS], hasLock[THREADS], isLate[THREADS];

/* Where a thread is; it is counted as waiting, or else as entered, until it has the lock. */
#define OUTSIDE 0
#define INSIDE 1    /* it waits in the kernel */
#define UNREAD 2    /* it has left the kernel, and nobody has looked at what it has to report */

byte at[THREADS];
byte inside;        /* how many are not outside */

#ifdef WAITING_ENDS_EARLY
#define countsAsWaiting(n) false
#else
#define countsAsWaiting(n) (at[n] == UNREAD)
#endif

/* ---- Gate.State */

bool mutex;
byte owner = NOBODY, closer = NOBODY, promised = NOBODY;
bool isClosing;
chan lockers = [THREADS] of { byte };
chan evacuators = [THREADS] of { byte };
chan turns = [THREADS] of { byte };

/* ---- SelectorCore.State */

bool changesLeft, mustRebuild, mustPollRefused, mustLook, wakeUpIsDue, isClosed;    /* the duties */

#define duties (changesLeft || mustRebuild || mustPollRefused || mustLook || wakeUpIsDue || isClosed)

bool refusedIsReady;    /* what poll(2) watches is ready */
byte ready = EVENTS;    /* what the kernel has to report */
bool isEnding;          /* awaitNobody() has found nobody, and the owner lets no call begin */
bool freed;             /* close() and deallocate() have returned */

/* ---- WakeUp; readable: by level, or a write that no thread was told of yet */

bool requested, detached, readable;
byte writing;

/* ---- Forks */

bool listIsLocked;      /* the gate of the list */
bool isListed = true;

byte busy = CHANGERS + REBUILDERS + WAKERS + CLOSERS + FORKS; /* threads that are to come to an end */

/* Used within one step. */
hidden byte next, i, other;

/* ==== Gate.Sleepers; to append is "!", to pop the first "?" */

inline prepend(sleepers, n) {
    sleepers ! n;
    for (i : 2 .. len(sleepers)) {
        sleepers ? other;
        sleepers ! other
    }
}

/* Gate.remove */
inline remove(me) {
    if
    :: queue[me] == LOCKERS -> lockers ?? eval(me)
    :: queue[me] == TURNS -> turns ?? eval(me)
    :: else
    fi;
    queue[me] = NONE
}

/* ==== Gate: the lock */

/* Word.without */
inline without(n) {
    if
    :: countsAsWaiting(n) && waiting > 0 -> waiting--
    :: !countsAsWaiting(n) && entered > 0 -> entered--
    :: else
    fi;
    if
    :: at[n] == UNREAD -> inside--; at[n] = OUTSIDE
    :: else
    fi
}

/* Gate.take, of a lock that is free; the mutex is held if the thread stands in a queue */
inline take(me) {
    touch;
    without(me);
    attention = false;
    locked = true;
    owner = me
}

/* One round of Gate.takeOrSleep; the thread owns the lock or sleeps after it */
inline takeOrSleep(me) {
    touch;
    if
    :: !hasLock[me] && locked ->
        queued = true;
        if
        :: queue[me] != LOCKERS ->
            queue[me] = LOCKERS;
            isWoken[me] = false;
            if
            :: isLate[me] -> prepend(lockers, me)
            :: else -> lockers ! me
            fi
        :: else
        fi
    :: else ->
        if
        :: !hasLock[me] -> take(me)
        :: else
        fi;
        remove(me);
        isWoken[me] = false;
        hasLock[me] = false;
        isLate[me] = false;
        if
        :: promised == me -> promised = NOBODY
        :: else
        fi
    fi
}

/* Gate.park clears, after others could set it, what says that the thread was woken */
#ifdef PARK_CLEARS
#define parkClears(me) d_step { !mutex -> isWoken[me] = false };
#else
#define parkClears(me)
#endif

/* The rest of Gate.takeOrSleep */
inline awaitLock(me) {
    do
    :: atomic { owner == me && queue[me] == NONE && !isWoken[me] -> break }
    :: d_step { isWoken[me] && !mutex -> isLate[me] = true; takeOrSleep(me) };
        parkClears(me)
    od
}

/*
 * Gate.acquire, of a thread that is counted: a lock that is free is taken among the spins or with the
 * mutex; of one that is not the thread may be tired at any time.
 */
inline acquire(me) {
    if
    :: d_step { !locked -> take(me) }
    :: d_step { locked && !mutex -> takeOrSleep(me) };
        parkClears(me)
        awaitLock(me)
    fi
}

/*
 * Gate.lock, and lockAndLook. It begins a call: nobody does so after close() has found nobody, but goes
 * to "over".
 */
inline lock(me) {
    if
    :: d_step {
            !isEnding && !locked && !queued ->
            check(duties_are_seen, !nobodyIsHere || !duties);
            attention = false;
            locked = true;
            owner = me
        }
    :: d_step { !isEnding -> countEntered() }; acquire(me)
    :: atomic { isEnding -> goto over }
    fi
}

inline countEntered() {
#ifdef ENTERED_UNCOUNTED
    skip
#else
    entered++
#endif
}

/* What the word counts from now on; the ghosts with it */
inline count(me, isEntered, isWaiting) {
    entered = entered + isEntered;
    waiting = waiting + isWaiting;
    if
    :: isWaiting ->
        at[me] = INSIDE;
        inside++;
        check(one_thread_in_kernel_set, SHARED || inside == 1)
    :: else
    fi
}

/* Gate.release, and tryUnlock; isEntered and isWaiting say what it becomes */
inline release(me, hasAttention, isEntered, isWaiting) {
    if
    :: d_step {
            !queued ->
            touch;
            check(lock_is_owned, owner == me);
            owner = NOBODY;
            locked = false;
            attention = (hasAttention);
            count(me, isEntered, isWaiting)
        }
    :: d_step {
            queued && !mutex ->
            touch;
            check(lock_is_owned, owner == me);
            owner = NOBODY;
            mutex = true;
            promote(isEntered, isWaiting);
#if CLOSERS
        };
        d_step {
#endif
            wakeOne(me, hasAttention, isEntered, isWaiting)
        }
    fi
}

/* SelectorCore.unlock */
#ifdef DUTIES_UNTOLD
#define unlock(me) release(me, false, 0, 0)
#else
#define unlock(me) release(me, duties, 0, 0)
#endif

/* The first part of Gate.releaseToSleepers: Gate.promote */
inline promote(isEntered, isWaiting) {
    next = NOBODY;
    if
#ifdef BROADCAST
    :: true ->
        moveAllToLockers(evacuators);
        moveAllToLockers(turns)
#endif
    :: isClosing ->
        moveAllToLockers(evacuators);
        moveAllToLockers(turns);
        if
        :: closer != NOBODY && waiting + isWaiting == 0 && entered + isEntered == 1 ->
            moveToLockers(closer);
            closer = NOBODY
        :: else
        fi
    :: else ->
        if
        :: promised == NOBODY && len(evacuators) > 0 && waiting + isWaiting == 0 ->
            evacuators ? next
        :: promised == NOBODY && len(evacuators) == 0 && len(turns) > 0 &&
                (SHARED || waiting + isWaiting == 0) ->
            turns ? next
        :: else
        fi;
        if
        :: next != NOBODY -> promised = next; moveToLockers(next)
        :: else
        fi
    fi
}

inline moveToLockers(n) {
    queue[n] = LOCKERS;
    lockers ! n
}

inline moveAllToLockers(sleepers) {
    do
    :: len(sleepers) > 0 -> sleepers ? next; moveToLockers(next)
    :: len(sleepers) == 0 -> break
    od
}

#ifdef NEVER_HANDED_OVER
#define isHandedOver(n) false
#else
#define isHandedOver(n) isLate[n]
#endif

/* The second part: the lock is free, or handed over; then the mutex is given back */
inline wakeOne(me, hasAttention, isEntered, isWaiting) {
    touch;
    locked = false;
    attention = false;
    count(me, isEntered, isWaiting);
    next = NOBODY;
#ifdef BROADCAST
    attention = (hasAttention);
    do
    :: len(lockers) > 0 -> lockers ? next; queue[next] = NONE; isWoken[next] = true
    :: len(lockers) == 0 -> break
    od;
    queued = false;
#else
    if
    :: len(lockers) > 0 -> lockers ? next
    :: len(lockers) == 0
    fi;
    queued = len(lockers) > 0 || len(evacuators) > 0 || len(turns) > 0 || closer != NOBODY ||
        promised != NOBODY;
    if
    :: next == NOBODY -> attention = (hasAttention)
    :: else ->
        if
        :: isHandedOver(next) ->
            without(next);
            locked = true;
            hasLock[next] = true;
            owner = next
        :: else -> attention = (hasAttention)
        fi;
        queue[next] = NONE;
        isWoken[next] = true
    fi;
#endif
    mutex = false
}

/*
 * Gate.sleep in a queue; isLimited: the time may be over at any moment. isInTime tells whether it was
 * not over.
 */
inline sleep(me, name, isFirst, isLimited) {
    d_step {
        !mutex ->
        touch;
        check(lock_is_owned, owner == me);
        owner = NOBODY;
        mutex = true;
        queue[me] = name;
        if
        :: name == EVACUATORS -> evacuators ! me
        :: name == CLOSER -> closer = me
        :: name == TURNS && isFirst -> prepend(turns, me)
        :: else -> turns ! me
        fi;
        promote(1, 0);
#if CLOSERS
    };
    d_step {
#endif
        wakeOne(me, true, 1, 0)
    };
    parkClears(me)
    if
    :: d_step { isWoken[me] && !mutex -> takeOrSleep(me) }
    :: d_step {
            isLimited && !mutex ->
            isInTime = queue[me] != name;
            if
            :: !isInTime -> remove(me)
            :: else
            fi;
            takeOrSleep(me)
        }
    fi;
    awaitLock(me)
}

/* ==== Gate: waiting in the kernel */

/* Gate.tryBeginWait and tryShareWait */
inline tryWait(me) {
    d_step {
        !isEnding && (nobodyIsHere || SHARED && !locked && !attention && !queued) ->
        check(duties_are_seen, !duties);
        count(me, 0, 1)
    }
}

/* Gate.mayWait; with the lock held, which nobody who has the mutex for two steps has */
#ifdef TURNS_IGNORED
#define mayWait(hasTurn) (SHARED || waiting == 0)
#else
#define mayWait(hasTurn) ((SHARED || waiting == 0) && (!queued || len(evacuators) == 0 && \
        promised == NOBODY && (hasTurn || len(turns) == 0)))
#endif

/* Gate.hasEvacuator; only who has the lock begins to be one */
#define hasEvacuator (queued && (len(evacuators) > 0 || closer != NOBODY))

/* Gate.awaitNobody */
inline awaitNobody(me) {
    d_step { touch; isClosing = true };
    do
    :: atomic { !attention && entered == 0 && waiting == 0 -> isEnding = true; break }
    :: atomic { attention || entered > 0 || waiting > 0 -> skip }; sleep(me, CLOSER, false, false)
    od
}

/* ==== WakeUp */

/* WakeUp.kick, and what makes the kernel tell a thread */
#define kick touch; readable = true

/* WakeUp.take; and SelectorCore.takeWakeUp */
inline takeWakeUp() {
#if LEVEL
    d_step { touch; readable = false };
#endif
    d_step {
        touch;
        wakeUpIsDue = wakeUpIsDue || requested;
        requested = false
    };
#ifndef DRAIN_UNTOLD
    passOnEvacuation()
#endif
}

/* ==== SelectorCore; the lock is held in all of it */

inline passOnEvacuation() {
    if
    :: d_step { waiting > 0 && hasEvacuator -> kick }
    :: atomic { !(waiting > 0 && hasEvacuator) -> skip }
    fi
}

/* SelectorCore.evacuate, and Gate.awaitEmptyKernel; the caller looks whether it is usable after it */
inline evacuate(me) {
    if
    :: d_step { waiting > 0 -> kick };
        do
        :: atomic { waiting > 0 && !isClosing -> skip }; sleep(me, EVACUATORS, false, false)
        :: atomic { !(waiting > 0 && !isClosing) -> break }
        od
    :: atomic { waiting == 0 -> skip }
    fi
}

/* SelectorCore.rebuildIfNeeded; where it throws the caller finds isClosed */
inline rebuildIfNeeded(me) {
    if
    :: atomic { mustRebuild -> skip };
#ifndef REPLACED_UNDER_WAITER
        evacuate(me);
#endif
        if
        :: d_step {
                mustRebuild && !isClosed ->
                check(kernel_set_is_empty, inside == 0);
                touch;
                readable = false        /* reset, forget */
            };
            d_step {
                touch;
#ifndef REQUEST_FORGOTTEN
                readable = readable || requested;       /* repeatRequest */
#endif
                changesLeft = false;
                mustRebuild = false
            }
        :: atomic { !(mustRebuild && !isClosed) -> skip }
        fi
    :: atomic { !mustRebuild -> skip }
    fi
}

/* ==== Threads */

inline passOnLook() {
    if
    :: d_step { mustLook && waiting > 0 -> kick }
    :: atomic { !(mustLook && waiting > 0) -> skip }
    fi
}

/* SelectorCore.settle, and what a select does that returns 0 for a wake-up */
inline settle() {
    atomic {
        wakeUpIsDue = false;
        hasTurn = false;
        isOver = false;
        if
        :: waiting > 0 ->
            check(kernel_set_is_empty, SHARED || !changesLeft);
            changesLeft = false
        :: else
        fi
    };
#ifndef LOOK_UNTOLD
    passOnLook()
#endif
}

/* The look that was asked for, where there was no more room for what poll(2) watches */
inline forgetLook() {
#ifdef LOOK_FORGOTTEN
    mustLook = false
#else
    skip
#endif
}

inline leaveKernel(me) {
    touch;
#ifdef WAITING_ENDS_EARLY
    waiting--;
    entered++;
#endif
    at[me] = UNREAD
}

/* SelectorCore.select, for ever */
proctype Waiter(byte me) {
    bool hasTurn, isInTime, hasEvent, hasWakeUp;
    bool isLimited = me < TIMED, isOver;
    byte left = SELECTS;

begin:
    if
    :: tryWait(me) -> goto kernel
    :: lock(me)
    fi;

    /* repeatedSelect */
again:
    if
    :: d_step { isClosed -> hasTurn = false };
        unlock(me);
        goto over
    :: atomic { !isClosed && wakeUpIsDue -> goto events }
    :: atomic { !isClosed && !wakeUpIsDue -> skip }
    fi;
    rebuildIfNeeded(me);
    if
    :: atomic { isClosed -> goto again }
    :: atomic { !isClosed && !mayWait(hasTurn) -> isInTime = true };
        sleep(me, TURNS, hasTurn, isLimited);
        if
        :: d_step { isInTime -> isInTime = false; hasTurn = true };
            goto again
        :: d_step { !isInTime -> hasTurn = false; isLimited = false };
            unlock(me);
            goto returned
        fi
    :: d_step {
            !isClosed && mayWait(hasTurn) ->
            /* applyChanges */
            check(kernel_set_is_empty, !changesLeft || SHARED || inside == 0);
            changesLeft = false
        }
    fi;

    /* collectFromAll: it looks at both kinds, whichever is first, with room for one event */
    if
    :: d_step { mustPollRefused && refusedIsReady -> refusedIsReady = false; mustLook = false };
        goto events
    :: d_step { mustPollRefused && ready > 0 -> ready--; forgetLook() };
        goto events
    :: d_step { mustPollRefused && readable -> readable = LEVEL };
        takeWakeUp();
        if
        :: d_step { refusedIsReady -> refusedIsReady = false; mustLook = false };
            goto events
        :: d_step { !refusedIsReady && wakeUpIsDue -> mustLook = false };
            goto again
        :: d_step { !refusedIsReady && !wakeUpIsDue -> mustLook = false }
        fi
    :: d_step {
            !(mustPollRefused && (refusedIsReady || ready > 0 || readable)) ->
            mustLook = false
        }
    fi;
    release(me, duties, 0, 1);

kernel:
    if
    :: d_step { readable && !ENDLESS -> leaveKernel(me); hasWakeUp = true; readable = LEVEL }
    :: d_step { ready > 0 -> leaveKernel(me); hasEvent = true; ready-- }
    :: d_step {
            readable && (ready > 0 || ENDLESS) ->
            leaveKernel(me);
            hasWakeUp = true;
            readable = LEVEL;
            hasEvent = true;
            if
            :: ENDLESS
            :: else -> ready--
            fi
        }
    :: d_step { !readable && ENDLESS -> leaveKernel(me); hasEvent = true }
    :: d_step { isLimited -> leaveKernel(me); isLimited = false; isOver = true }
    fi;
    /* tryEndWait, endWait */
    acquire(me);
    passOnEvacuation();
    /* deliver */
    if
    :: d_step { hasWakeUp -> hasWakeUp = false }; takeWakeUp()
    :: atomic { !hasWakeUp -> skip }
    fi;
    if
    :: atomic { hasEvent -> hasEvent = false; goto events }
    :: atomic { !hasEvent && !isOver -> goto again }
    :: atomic { !hasEvent && isOver -> skip }
    fi;
    hasTurn = false;
    isOver = false;
    unlock(me);
    goto returned;

events:
    settle();
    unlock(me);

returned:
#ifdef PROGRESS_OF_WAITER
    if
    :: me == 0 ->
progress:
        skip
    :: else
    fi;
#endif
    if
    :: left != 1 || me != 0 ->
        if
        :: left > 0 && me == 0 -> left--
        :: else
        fi;
        goto begin
    :: else
    fi;
over:
    skip
}

/* SelectorCore.register, modify, unregister */
proctype Changer(byte me) {
    bool isInTime;

change:
    /* lockForChange */
    lock(me);
    if
    :: atomic { !isClosed && waiting > 0 && !SHARED -> skip };
        evacuate(me)        /* makeRoomForChange */
    :: atomic { isClosed || waiting == 0 || SHARED -> skip }
    fi;
    if
    :: d_step {
            !isClosed && !REFUSED ->
            /* register, unregister; modify, while somebody waits */
            check(kernel_set_is_empty, SHARED || inside == 0)
        }
    :: d_step {
            !isClosed && !REFUSED && waiting == 0 ->
            /* modify, else */
            changesLeft = true
        }
    :: d_step {
            !isClosed && REFUSED ->
            mustPollRefused = true;
            refusedIsReady = true;
            mustLook = true     /* interruptWait */
        };
        passOnLook()
    :: atomic { isClosed -> skip }
    fi;
    unlock(me);
#if ENDLESS
#ifdef PROGRESS_OF_CHANGER
progress:
#endif
    goto change;
#endif
over:
    busy--
}

/* A thread that finds what was left behind in the kernel set; then fileno, or a select later */
proctype Rebuilder(byte me) {
    bool isInTime;

    lock(me);
    if
    :: d_step { !isClosed -> mustRebuild = true };
        rebuildIfNeeded(me)
    :: d_step { !isClosed -> mustRebuild = true }
    :: atomic { isClosed -> skip }
    fi;
    unlock(me);
over:
    busy--
}

/* WakeUp.request */
proctype Waker() {
    if
    :: d_step {
            !isEnding && !requested && !detached ->
            requested = true;
#ifndef REQUEST_UNCOUNTED
            writing++
#endif
        };
        /* requestAnew */
#ifdef REQUEST_UNCOUNTED
        if
        :: d_step { detached -> touch }; goto over
        :: d_step { !detached -> touch; writing++ }
        fi;
#endif
        d_step { kick };
        d_step { touch; writing-- }
    :: d_step { !isEnding && (requested || detached) -> requested = true }
    :: atomic { isEnding -> skip }
    fi;
over:
    busy--
}

/* SelectorCore.close, and deallocate */
proctype Closer(byte me) {
    bool isInTime;

    lock(me);
    isClosed = true;
    if
    :: d_step { waiting > 0 -> kick }
    :: atomic { waiting == 0 -> skip }
    fi;
    awaitNobody(me);
    unlock(me);
    /* Forks.remove */
    d_step { !listIsLocked -> isListed = false };
    d_step { check(kernel_set_is_empty, inside == 0) };
    /* WakeUp.close */
    detached = true;
    writing == 0;
    /* Gate.destroy */
    d_step { !mutex -> freed = true };
over:
    busy--
}

/* Forks.prepare and resume */
proctype Forker() {
prepare:
    atomic { !listIsLocked -> listIsLocked = true };
    if
    :: atomic { isListed -> skip };
        /* tryLockForFork */
        if
        :: d_step { !locked -> touch; locked = true; owner = THREADS }
        :: d_step { locked -> touch; listIsLocked = false };
            goto prepare
        fi;
        d_step { !mutex -> touch; mutex = true };
        /* unlockAfterFork */
        d_step { touch; mutex = false };
        release(THREADS, true, 0, 0)
    :: atomic { !isListed -> skip }
    fi;
    listIsLocked = false;
    busy--
}

/* Looks at what is left when no thread can go on */
proctype Rest() {
    byte n;
    bool isWaited;

    timeout ->
    d_step {
        for (n : 0 .. THREADS - 1) {
            isWaited = isWaited || at[n] == INSIDE
        }
        for (n : 0 .. THREADS - 1) {
            check(nobody_is_stuck, queue[n] == NONE || queue[n] == TURNS && !SHARED && isWaited)
        }
        check(nobody_is_stuck, busy == 0 && !mutex && !locked && !(isClosed && isWaited));
        check(no_wake_up_is_lost, !isWaited || !requested && !wakeUpIsDue);
        check(no_ready_file_is_missed, !isWaited || !refusedIsReady)
    }
}

#define runEach(number, thread) \
    n = 0; \
    do \
    :: n < number -> run thread; n++; me++ \
    :: n >= number -> break \
    od

init {
    byte n, me;

    atomic {
        runEach(WAITERS, Waiter(me));
        runEach(CHANGERS, Changer(me));
        runEach(REBUILDERS, Rebuilder(me));
        runEach(CLOSERS, Closer(me));
        runEach(WAKERS, Waker());
        runEach(FORKS, Forker());
        runEach(!ENDLESS, Rest())
    }
}
