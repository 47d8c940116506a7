/* What a setuid program says of itself: no_new_privs keeps it from becoming root. */
#include <stdio.h>
#include <unistd.h>

int main(void) {
    printf("Effective uid: %u\n", (unsigned)geteuid());
    return 0;
}
