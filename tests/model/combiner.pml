/*
 * The protocol of src/shared/combiner as a model for spin(1); scripts/check_model.sh runs it.
 *
 * The first process makes REQUESTS requests, each other one. A process runs
 * one itself, or publishes it in its record, where the combiner takes it into its own transaction. Between any two steps a process may be killed (the
 * kernel releases its locks, and a new process claims its record), or stopped for ever (it keeps
 * them). A request stands for an unlock: it must not be applied twice, and its process must be told
 * what became of it.
 *
 * What is checked: no request is applied twice; "done" is told of what was applied and of nothing
 * else; "not done" of nothing that was applied, or whose flush failed; nothing is taken from a
 * process that has ended and left its record to another; and no process waits for ever, unless for a
 * stopped process that holds the write lock or has its request.
 *
 * Each of these switches removes a step, and must make the check fail: NUMBER_NOT_COMPARED,
 * ANSWERS_AFTER_COMMIT, LOCK_RELEASED_EARLY, PROCESS_NOT_CHECKED.
 */
#ifndef PROCESSES
#define PROCESSES 2
#endif
#ifndef REQUESTS
#define REQUESTS 2
#endif
#ifndef KILLS
#define KILLS 1
#endif
#ifndef STOPS
#define STOPS 1
#endif
#define NOBODY PROCESSES
/* The first process makes all of its requests, or those who claim its record after it; the others make one. */
#define END_OF_REQUESTS(process) (process == 0 -> REQUESTS : 1)

mtype = { vacant, published, taken, answered };

typedef Record {
    mtype phase;
    byte sequence;        /* with the phase, the state word */
    byte request;
    byte transaction;     /* which took it */
    byte answer_sequence; /* whose answer the answer is; the checksum tells */
    bool is_unknown;      /* that answer is "unknown" */
    byte taker            /* for the checks: the process that took it */
};

Record record[PROCESSES];
bool in_use[PROCESSES];
byte combiner_lock = NOBODY; /* a byte of the side file */
byte write_lock = NOBODY;    /* SQLite's */
byte committed;              /* the number in the store's own row */
byte transactions;

/* For the checks. */
bool killed[PROCESSES], stopped[PROCESSES + 1];
bit applied[PROCESSES * REQUESTS], in_doubt[PROCESSES * REQUESTS], abandoned[PROCESSES * REQUESTS];

#define ID(process, request) (process * REQUESTS + request)
#define FOR_EACH_OTHER(i) for (i : 0 .. PROCESSES - 1) { if :: i != me
#define END_FOR :: else fi }
#define IF(condition, action) if :: condition -> action :: else fi

proctype process(byte me, request)
{
    byte i, number, sequence, took[PROCESSES], took_request[PROCESSES];
    bool has_lock, is_own_part, was_alive, is_abandoned, flush_failed;

    {
        skip;
next_request:
        if
        :: request == END_OF_REQUESTS(me) -> goto end
        :: request < END_OF_REQUESTS(me)
        fi;

again:
        if
        :: is_own_part = true; goto combine
        :: true
        fi;
        atomic {
            record[me].sequence++;
            record[me].phase = vacant
        }
        record[me].request = request;
        record[me].phase = published;

wait:
        if
        :: atomic { record[me].phase == answered ->
            if
            :: record[me].answer_sequence != record[me].sequence || record[me].is_unknown ->
                assert(in_doubt[ID(me, request)])
            :: else ->
                assert(applied[ID(me, request)])
            fi;
            request++ }
            goto next_request
        :: atomic { record[me].phase == vacant ->
            assert(!applied[ID(me, request)]);
            assert(!in_doubt[ID(me, request)]) }
            goto again
        /* It is next, or the combiner does not take it. */
        :: atomic { record[me].phase == published -> record[me].phase = vacant; is_own_part = true }
            goto combine
        /* The combiner has died. */
        :: atomic { record[me].phase == taken && combiner_lock == NOBODY -> is_own_part = false }
            goto combine
        /* The time is up, and the combiner lives: the outcome is unknown. */
        :: atomic { record[me].phase == taken && combiner_lock != NOBODY -> request++ }
            goto next_request
        /* The same, for nobody can find out. */
        :: atomic { record[me].phase == taken && stopped[write_lock] -> request++ }
            goto next_request
        fi;

combine:
        atomic {
            has_lock = (combiner_lock == NOBODY);
            IF(has_lock, combiner_lock = me)
        }
        if
        :: !has_lock && !is_own_part -> goto wait
        :: has_lock || is_own_part
        fi;
        if
        :: atomic { write_lock == NOBODY -> write_lock = me; transactions++; number = transactions }
        /* -EBUSY when the time is up. */
        :: atomic { stopped[write_lock] -> IF(has_lock, combiner_lock = NOBODY); has_lock = false }
            if
            :: atomic { is_own_part -> request++ } goto next_request
            :: !is_own_part -> goto wait
            fi
        fi;
        if
        :: !has_lock -> goto commit
        :: has_lock
        fi;

        /* Settle what a dead combiner has left. */
        for (i : 0 .. PROCESSES - 1) {
            atomic {
                if
#ifndef NUMBER_NOT_COMPARED
                :: record[i].phase == taken && record[i].transaction == committed -> record[i].phase = answered
                :: record[i].phase == taken && record[i].transaction != committed -> record[i].phase = vacant
#else
                :: record[i].phase == taken -> record[i].phase = vacant
#endif
                :: else
                fi
            }
        }

        /* Take the requests of others. */
        FOR_EACH_OTHER(i) ->
            atomic {
                sequence = record[i].sequence;
                is_abandoned = abandoned[ID(i, record[i].request)];
                was_alive = record[i].phase == published;
#ifndef PROCESS_NOT_CHECKED
                was_alive = was_alive && in_use[i]
#endif
            }
            if
            :: was_alive ->
                record[i].transaction = number;
                atomic {
                    if
                    :: record[i].phase == published && record[i].sequence == sequence ->
                        assert(!is_abandoned);
                        record[i].phase = taken;
                        record[i].taker = me;
                        took[i] = sequence;
                        took_request[i] = record[i].request
                    :: else
                    fi;
                    was_alive = false;
                    is_abandoned = false
                }
            :: !was_alive -> is_abandoned = false
            fi
        END_FOR;

#ifndef ANSWERS_AFTER_COMMIT
        FOR_EACH_OTHER(i) ->
            atomic { IF(took[i], record[i].answer_sequence = took[i]; record[i].is_unknown = false) }
        END_FOR;
#endif

commit:
        if
        :: atomic { true ->
            if
            :: is_own_part -> assert(!applied[ID(me, request)]); applied[ID(me, request)] = 1
            :: else
            fi;
            FOR_EACH_OTHER(i) ->
                if
                :: took[i] ->
                    assert(!applied[ID(i, took_request[i])]);
                    applied[ID(i, took_request[i])] = 1;
                    committed = number
                :: else
                fi
            END_FOR;
            write_lock = NOBODY }
        /* The flush fails: no process sees the transaction, but its frames may be on the disk. */
        :: atomic { has_lock -> flush_failed = true;
            FOR_EACH_OTHER(i) ->
                IF(took[i], in_doubt[ID(i, took_request[i])] = 1)
            END_FOR;
            write_lock = NOBODY }
        fi;
#ifdef LOCK_RELEASED_EARLY
        atomic { IF(has_lock, combiner_lock = NOBODY) }
#endif
        FOR_EACH_OTHER(i) ->
            if
            :: took[i] ->
#ifdef ANSWERS_AFTER_COMMIT
                atomic { record[i].answer_sequence = took[i]; record[i].is_unknown = false }
#endif
                atomic {
                    IF(flush_failed && record[i].phase == taken && record[i].sequence == took[i],
                        record[i].is_unknown = true)
                }
                atomic {
                    IF(record[i].phase == taken && record[i].sequence == took[i], record[i].phase = answered);
                    took[i] = 0;
                    took_request[i] = 0
                }
            :: !took[i]
            fi
        END_FOR;
        atomic {
#ifndef LOCK_RELEASED_EARLY
            IF(has_lock, combiner_lock = NOBODY);
#endif
            has_lock = false;
            number = 0;
            sequence = 0;
            flush_failed = false
        }
        if
        :: !is_own_part -> goto wait
        /* Its own request is told as done, or as unknown after a flush that failed. */
        :: atomic { is_own_part -> request++; is_own_part = false } goto next_request
        fi
    } unless {
        if
        :: atomic { killed[me] ->
            killed[me] = false;
            IF(combiner_lock == me, combiner_lock = NOBODY);
            IF(write_lock == me, write_lock = NOBODY);
            in_use[me] = false;
            IF(request < REQUESTS, abandoned[ID(me, request)] = (record[me].phase == published));
            /* What it could not flush is invisible, and the next commit writes over it. */
            for (i : 0 .. PROCESSES - 1) {
                IF(record[i].phase == taken && record[i].taker == me, in_doubt[ID(i, record[i].request)] = 0)
            }
            request++ }
            /* Another process claims the record. */
            if
            :: request >= END_OF_REQUESTS(me)
            :: atomic { request < END_OF_REQUESTS(me) ->
                record[me].sequence = record[me].sequence + 10;
                record[me].phase = vacant }
                atomic { in_use[me] = true; run process(me, request) }
            :: true
            fi
        :: stopped[me] -> goto end_stopped
        fi
    }
    goto end;
end_stopped:
    false;
end:
    skip
}

active proctype fate()
{
    byte i, kills, stops;

    do
    :: atomic { kills < KILLS -> kills++; select(i : 0 .. PROCESSES - 1); killed[i] = true; i = 0 }
    :: atomic { stops < STOPS -> stops++; select(i : 0 .. PROCESSES - 1); stopped[i] = true; i = 0 }
    :: break
    od
}

init {
    byte i;

    atomic {
        for (i : 0 .. PROCESSES - 1) {
            record[i].phase = vacant;
            in_use[i] = true
        }
        for (i : 0 .. PROCESSES - 1) { run process(i, 0) }
    }
}
