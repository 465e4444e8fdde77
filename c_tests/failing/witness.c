#include "witness.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

struct message {
    int what;
    char name[WITNESS_TEXT], text[WITNESS_TEXT];
};

/* By the system's own calls: those of the C library are the ones that fail. */
static void pass(int number, int fd, struct message *message)
{
    ssize_t done;

    do {
        done = syscall(number, fd, message, sizeof(*message));
    } while (done < 0 && errno == EINTR);
    if (done != (ssize_t)sizeof(*message))
        _exit(3); /* the other one has ended, and has told why */
}

static void see_owner(struct dss_handle *handle, struct message *message)
{
    char *owner = NULL;
    int rc = dss_lock_status(handle, message->name, &owner, NULL);

    if (rc != -ENOLCK)
        CHECK_RC(rc, 0);
    snprintf(message->text, sizeof(message->text), "%s", owner != NULL ? owner : "-");
    free(owner);
}

static void see_value(struct dss_handle *handle, struct message *message)
{
    void *value = NULL;
    int rc = dss_get(handle, message->name, &value, NULL, NULL);

    if (rc != -ENOENT)
        CHECK_RC(rc, 0);
    snprintf(message->text, sizeof(message->text), "%s", value != NULL ? (char *)value : "-");
    free(value);
}

static void obey(struct dss_handle *handle, const char *uri, struct message *message)
{
    switch (message->what) {
    case WITNESS_OPEN:
        CHECK_RC(dss_init_uri(handle, uri), 0);
        break;
    case WITNESS_CLOSE:
        dss_fini(handle);
        break;
    case WITNESS_LOCK:
        CHECK_RC(dss_lock(handle, message->name, message->text), 0);
        break;
    case WITNESS_UNLOCK:
        CHECK_RC(dss_unlock(handle, message->name, NULL), 0);
        break;
    case WITNESS_OWNER:
        see_owner(handle, message);
        break;
    case WITNESS_SET:
        CHECK_RC(dss_set(handle, message->name, message->text, strlen(message->text), NULL, NULL), 0);
        break;
    case WITNESS_VALUE:
        see_value(handle, message);
        break;
    default:
        CHECK(!"a question");
    }
}

void witness_start(struct witness *witness, const char *uri)
{
    CHECK(pipe2(witness->ask, O_CLOEXEC) == 0 && pipe2(witness->answer, O_CLOEXEC) == 0);
    witness->process = fork();
    CHECK(witness->process >= 0);
    if (witness->process == 0) {
        struct dss_handle handle = {NULL};
        struct message message;

        CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
        close(witness->ask[1]);
        close(witness->answer[0]);
        for (;;) {
            pass(SYS_read, witness->ask[0], &message);
            obey(&handle, uri, &message);
            pass(SYS_write, witness->answer[1], &message);
        }
    }
    close(witness->ask[0]);
    close(witness->answer[1]);
}

const char *witness_ask(struct witness *witness, enum question question, const char *name, const char *text)
{
    static struct message message;

    memset(&message, 0, sizeof(message));
    message.what = question;
    snprintf(message.name, sizeof(message.name), "%s", name != NULL ? name : "");
    snprintf(message.text, sizeof(message.text), "%s", text != NULL ? text : "");
    pass(SYS_write, witness->ask[1], &message);
    pass(SYS_read, witness->answer[0], &message);
    return message.text;
}
