/* Where curves bend. */
#include "runtime/knee.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define KNEE(x, y) dgm_knee(x, y, sizeof(x) / sizeof(x)[0])

static void test_knee(void **state)
{
    (void)state;
    const double x[] = {10, 20, 30, 40, 110};
    const double bent[] = {0, 5, 8, 9, 10};
    assert_int_equal(KNEE(x, bent), 2); /* 0.5 - 0.1, 0.8 - 0.2, 0.9 - 0.3 */
    const double line[] = {0, 1, 2, 3, 10};
    assert_int_equal(KNEE(x, line), -1);
    const double sagging[] = {0, 0.5, 1, 1.5, 10};
    assert_int_equal(KNEE(x, sagging), -1);
    const double flat[] = {5, 5, 5, 5, 5};
    assert_int_equal(KNEE(x, flat), -1);
    const double noisy[] = {0, 9, 8.9, 8, 8.5}; /* all may be worse than some */
    assert_int_equal(KNEE(x, noisy), 1);
    const double late[] = {0, 5, 4, 10, 9}; /* what is worse than a smaller one is no knee */
    assert_int_equal(KNEE(x, late), 3);
    const double same[] = {3, 3, 3, 3, 3};
    assert_int_equal(KNEE(same, bent), -1);
    const double tie_x[] = {0, 1, 2, 4}, tie_y[] = {0, 2, 3, 4};
    assert_int_equal(KNEE(tie_x, tie_y), 1);
    assert_int_equal(dgm_knee(x, bent, 1), -1);
    assert_int_equal(dgm_knee(x, bent, 0), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_knee)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
