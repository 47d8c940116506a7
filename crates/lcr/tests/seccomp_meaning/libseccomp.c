/*
 * Builds a filter with libseccomp as runc does, from lines on standard input:
 *   default ACTION          arch TOKEN          without TOKEN
 *   rule ACTION NAME COUNT {ARGUMENT OPERATOR FIRST SECOND}...
 * Numbers are hexadecimal. Writes the program to standard output; names that this version of the
 * library does not know go to standard error, one a line. Exits with 1 on any other trouble.
 */
#include <errno.h>
#include <inttypes.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>

static int fail(const char *what, int rc) {
    fprintf(stderr, "error: %s: %s\n", what, strerror(-rc));
    return 1;
}

int main(void) {
    scmp_filter_ctx filter = NULL;
    char word[64];
    uint32_t number;
    int rc;
    while (scanf("%63s %" SCNx32, word, &number) == 2) {
        if (strcmp(word, "default") == 0) {
            filter = seccomp_init(number);
            if (filter == NULL)
                return fail("seccomp_init", -EINVAL);
            if ((rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2)) != 0)
                return fail("seccomp_attr_set", rc);
        } else if (strcmp(word, "arch") == 0) {
            rc = seccomp_arch_add(filter, number);
            if (rc != 0 && rc != -EEXIST)
                return fail("seccomp_arch_add", rc);
        } else if (strcmp(word, "without") == 0) {
            if ((rc = seccomp_arch_remove(filter, number)) != 0)
                return fail("seccomp_arch_remove", rc);
        } else if (strcmp(word, "rule") == 0) {
            char name[64];
            unsigned count, i;
            struct scmp_arg_cmp checks[6];
            if (scanf("%63s %x", name, &count) != 2 || count > 6)
                return fail("rule", -EINVAL);
            for (i = 0; i < count; i++) {
                unsigned argument, operator;
                uint64_t first, second;
                if (scanf("%x %x %" SCNx64 " %" SCNx64, &argument, &operator, &first, &second) != 4)
                    return fail("check", -EINVAL);
                checks[i] = SCMP_CMP64(argument, operator, first, second);
            }
            int call = seccomp_syscall_resolve_name(name);
            if (call == __NR_SCMP_ERROR) {
                fprintf(stderr, "%s\n", name);
                continue;
            }
            rc = seccomp_rule_add_array(filter, number, call, count, checks);
            if (rc != 0)
                return fail(name, rc);
        } else {
            return fail(word, -EINVAL);
        }
    }
    if ((rc = seccomp_export_bpf(filter, 1)) != 0)
        return fail("seccomp_export_bpf", rc);
    return 0;
}
