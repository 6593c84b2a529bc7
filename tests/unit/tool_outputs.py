# ruff: noqa: RUF001 - as they were printed
"""What tools printed when something was wrong: their real output, paths shortened."""

PYTHON = r"""
Traceback (most recent call last):
  File "/app/chain.py", line 6, in main
    load()
  File "/app/chain.py", line 3, in load
    return json.loads("{")
           ^^^^^^^^^^^^^^^
  File "/usr/lib/python3.11/json/__init__.py", line 346, in loads
    return _default_decoder.decode(s)
           ^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/usr/lib/python3.11/json/decoder.py", line 337, in decode
    obj, end = self.raw_decode(s, idx=_w(s, 0).end())
               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/usr/lib/python3.11/json/decoder.py", line 353, in raw_decode
    obj, end = self.scan_once(s, idx)
               ^^^^^^^^^^^^^^^^^^^^^^
json.decoder.JSONDecodeError: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/app/chain.py", line 9, in <module>
    main()
  File "/app/chain.py", line 8, in main
    raise RuntimeError("no config") from error
RuntimeError: no config
"""

PYTHON_SYNTAX = r"""
  File "/app/syn.py", line 1
    def f(:
          ^
SyntaxError: invalid syntax
"""

PYTHON_GROUP = r"""
  + Exception Group Traceback (most recent call last):
  |   File "/app/grp.py", line 1, in <module>
  |     raise ExceptionGroup("two", [ValueError("a"), KeyError("b")])
  | ExceptionGroup: two (2 sub-exceptions)
  +-+---------------- 1 ----------------
    | ValueError: a
    +---------------- 2 ----------------
    | KeyError: 'b'
    +------------------------------------
"""

PYTHON_LOGGING = r"""
2026-11-26 01:12:33,165 ERROR root: request failed
Traceback (most recent call last):
  File "/app/logx.py", line 4, in <module>
    {}["k"]
    ~~^^^^^
KeyError: 'k'
2026-11-26 01:12:33,177 ERROR root: plain error
2026-11-26 01:12:33,177 WARNING root: plain warning
"""

NODE = r"""
/app/e.js:1
function f() { throw new TypeError("bad thing", {cause: new Error("root")}) }
               ^

TypeError: bad thing
    at f (/app/e.js:1:22)
    at Object.<anonymous> (/app/e.js:2:1)
    ... 5 lines matching cause stack trace ...
    at node:internal/main/run_main_module:28:49 {
  [cause]: Error: root
      at f (/app/e.js:1:57)
      at Object.<anonymous> (/app/e.js:2:1)
      at Module._compile (node:internal/modules/cjs/loader:1521:14)
      at Module._extensions..js (node:internal/modules/cjs/loader:1623:10)
      at Module.load (node:internal/modules/cjs/loader:1266:32)
      at Module._load (node:internal/modules/cjs/loader:1091:12)
      at Function.executeUserEntryPoint [as runMain] (node:internal/modules/run_main:164:12)
      at node:internal/main/run_main_module:28:49
}

Node.js v20.20.2
"""

NODE_SYNTAX = r"""
/app/s.js:1
const a = ;
          ^

SyntaxError: Unexpected token ';'
    at wrapSafe (node:internal/modules/cjs/loader:1464:18)
    at Module._compile (node:internal/modules/cjs/loader:1495:20)
    at Module._extensions..js (node:internal/modules/cjs/loader:1623:10)
    at Module.load (node:internal/modules/cjs/loader:1266:32)
    at Module._load (node:internal/modules/cjs/loader:1091:12)
    at Function.executeUserEntryPoint [as runMain] (node:internal/modules/run_main:164:12)
    at node:internal/main/run_main_module:28:49

Node.js v20.20.2
"""

NODE_MODULE = r"""
node:internal/modules/cjs/loader:1210
  throw err;
  ^

Error: Cannot find module './nothere'
Require stack:
- /app/nomod.js
    at Module._resolveFilename (node:internal/modules/cjs/loader:1207:15)
    at Module._load (node:internal/modules/cjs/loader:1038:27)
    at Module.require (node:internal/modules/cjs/loader:1289:19)
    at require (node:internal/modules/helpers:182:18)
    at Object.<anonymous> (/app/nomod.js:1:1)
    at Module._compile (node:internal/modules/cjs/loader:1521:14)
    at Module._extensions..js (node:internal/modules/cjs/loader:1623:10)
    at Module.load (node:internal/modules/cjs/loader:1266:32)
    at Module._load (node:internal/modules/cjs/loader:1091:12)
    at Function.executeUserEntryPoint [as runMain] (node:internal/modules/run_main:164:12) {
  code: 'MODULE_NOT_FOUND',
  requireStack: [ '/app/nomod.js' ]
}

Node.js v20.20.2
"""

NODE_TEST = r"""
TAP version 13
# Subtest: adds
not ok 1 - adds
  ---
  duration_ms: 21.933565
  location: '/app/t.test.js:2:1'
  failureType: 'testCodeFailure'
  error: '1 == 2'
  code: 'ERR_ASSERTION'
  name: 'AssertionError'
  expected: 2
  actual: 1
  operator: '=='
  stack: |-
    TestContext.<anonymous> (/app/t.test.js:2:25)
    Test.runInAsyncScope (node:async_hooks:206:9)
    Test.run (node:internal/test_runner/test:796:25)
    Test.processPendingSubtests (node:internal/test_runner/test:526:18)
    node:internal/test_runner/harness:255:12
    node:internal/process/task_queues:140:7
    AsyncResource.runInAsyncScope (node:async_hooks:206:9)
    AsyncResource.runMicrotask (node:internal/process/task_queues:137:8)
  ...
# Subtest: ok
ok 2 - ok
  ---
  duration_ms: 0.443802
  ...
1..2
# tests 2
# suites 0
# pass 1
# fail 1
# cancelled 0
# skipped 0
# todo 0
# duration_ms 744.936757
"""

JAVAC = r"""
B.java:1: error: incompatible types: String cannot be converted to int
public class B { int f() { return "x"; }
                                  ^
B.java:2: error: cannot find symbol
  void g() { h(); } }
             ^
  symbol:   method h()
  location: class B
2 errors
"""

JAVA = r"""
Exception in thread "main" java.lang.IllegalStateException: wrapped
	at A.f(A.java:1)
	at A.main(A.java:1)
Caused by: java.lang.NumberFormatException: For input string: "x"
	at java.base/java.lang.NumberFormatException.forInputString(NumberFormatException.java:67)
	at java.base/java.lang.Integer.parseInt(Integer.java:668)
	at java.base/java.lang.Integer.parseInt(Integer.java:786)
	... 2 more
"""

PYTEST = r"""
FF.F                                                                     [100%]
=================================== FAILURES ===================================
___________________________________ test_sum ___________________________________

    def test_sum():
        a = 1
>       assert a == 2, "sums"
E       AssertionError: sums
E       assert 1 == 2

test_p.py:4: AssertionError
___________________________________ test_err ___________________________________

    def test_err():
>       {}["k"]
E       KeyError: 'k'

test_p.py:6: KeyError
___________________________________ T.test_u ___________________________________

self = <test_p.T testMethod=test_u>

>   def test_u(self): self.assertEqual(1, 2)
                      ^^^^^^^^^^^^^^^^^^^^^^
E   AssertionError: 1 != 2

test_p.py:9: AssertionError
=========================== short test summary info ============================
FAILED test_p.py::test_sum - AssertionError: sums
FAILED test_p.py::test_err - KeyError: 'k'
FAILED test_p.py::T::test_u - AssertionError: 1 != 2
3 failed, 1 passed in 5.27s
"""

UNITTEST = r"""
F
======================================================================
FAIL: test_u (test_p.T.test_u)
----------------------------------------------------------------------
Traceback (most recent call last):
  File "/app/test_p.py", line 9, in test_u
    def test_u(self): self.assertEqual(1, 2)
                      ^^^^^^^^^^^^^^^^^^^^^^
AssertionError: 1 != 2

----------------------------------------------------------------------
Ran 1 test in 0.001s

FAILED (failures=1)
"""

RUSTC = r"""
error[E0308]: mismatched types
 --> crate_a/src/bad.rs:1:26
  |
1 | fn main() { let x: i32 = "a"; let y: u8 = "b"; }
  |                    ---   ^^^ expected `i32`, found `&str`
  |                    |
  |                    expected due to this

error[E0308]: mismatched types
 --> crate_a/src/bad.rs:1:43
  |
1 | fn main() { let x: i32 = "a"; let y: u8 = "b"; }
  |                                      --   ^^^ expected `u8`, found `&str`
  |                                      |
  |                                      expected due to this

error: aborting due to 2 previous errors

For more information about this error, try `rustc --explain E0308`.
"""

CARGO_RUN = r"""
thread 'main' (16428) panicked at src/main.rs:1:30:
index out of bounds: the len is 2 but the index is 5
stack backtrace:
   0: __rustc::rust_begin_unwind
             at /rustc/59807616/library/std/src/panicking.rs:689:5
   1: core::panicking::panic_fmt
             at /rustc/59807616/library/core/src/panicking.rs:80:14
   2: core::panicking::panic_bounds_check
             at /rustc/59807616/library/core/src/panicking.rs:271:5
   3: crate_a::half
             at ./src/main.rs:1:30
   4: crate_a::main
             at ./src/main.rs:2:28
   5: core::ops::function::FnOnce::call_once
             at /rustc/59807616/library/core/src/ops/function.rs:250:5
note: Some details are omitted, run with `RUST_BACKTRACE=full` for a verbose backtrace.
"""

CARGO_TEST = r"""
running 2 tests
t --- FAILED
.
failures:

---- t stdout ----

thread 't' (16439) panicked at src/main.rs:3:18:
assertion `left == right` failed
  left: 1
 right: 2
note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace


failures:
    t

test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s

error: test failed, to rerun pass `--bin crate_a`
"""

TSC = r"""
src/a.ts(1,7): error TS2322: Type 'string' is not assignable to type 'number'.
src/a.ts(2,41): error TS2339: Property 'foo' does not exist on type 'string'.
"""

TSC_PRETTY = r"""
src/a.ts:1:7 - error TS2322: Type 'string' is not assignable to type 'number'.

1 const n: number = "x";
        ~

src/a.ts:2:41 - error TS2339: Property 'foo' does not exist on type 'string'.

2 export function f(a: string) { return a.foo; }
                                          ~~~


Found 2 errors in the same file, starting at: src/a.ts:1
"""

VITEST = r"""
 RUN  v2.1.9 /app

 ❯ v/a.test.mjs (2 tests | 1 failed) 15ms
   × adds 11ms
     → expected 2 to be 3 // Object.is equality

 Test Files  1 failed (1)
      Tests  1 failed | 1 passed (2)
   Start at  01:14:23
   Duration  608ms (transform 83ms, setup 0ms, collect 24ms, tests 15ms, environment 0ms, prepare 145ms)

⎯⎯⎯⎯⎯⎯⎯ Failed Tests 1 ⎯⎯⎯⎯⎯⎯⎯

 FAIL  v/a.test.mjs > adds
AssertionError: expected 2 to be 3 // Object.is equality

- Expected
+ Received

- 3
+ 2

 ❯ v/a.test.mjs:2:36
      1| import { test, expect } from "vitest";
      2| test("adds", () => { expect(1 + 1).toBe(3); });
       |                                    ^
      3| test("ok", () => {});
      4|

⎯⎯⎯⎯⎯⎯⎯⎯⎯⎯⎯⎯⎯⎯⎯⎯⎯⎯⎯⎯⎯⎯⎯⎯[1/1]⎯
"""

JEST = r"""
FAIL j/b.test.js
  sum
    ✕ adds (11 ms)
    ✓ ok (1 ms)

  ● sum › adds

    expect(received).toBe(expected) // Object.is equality

    Expected: 3
    Received: 2

    > 1 | describe("sum", () => { test("adds", () => { expect(1 + 1).toBe(3); }); test("ok", () => {}); });
        |                                                            ^
      2 |

      at Object.toBe (j/b.test.js:1:60)

Test Suites: 1 failed, 1 total
Tests:       1 failed, 1 passed, 2 total
Snapshots:   0 total
Time:        0.787 s, estimated 2 s
Ran all test suites matching /j/i.
"""

MOCHA = r"""
  sum
    1) adds
    ✔ ok


  1 passing (36ms)
  1 failing

  1) sum
       adds:

      AssertionError [ERR_ASSERTION]: 2 == 3
      + expected - actual

      -2
      +3

      at Context.<anonymous> (m/c.js:2:51)
      at process.processImmediate (node:internal/timers:483:21)
"""

ESLINT = r"""
/app/src/l.js
  1:7   warning  'a' is assigned a value but never used  no-unused-vars
  1:14  error    'foo' is not defined                    no-undef

✖ 2 problems (1 error, 1 warning)
"""

VITE_BUILD = r"""
vite v5.4.21 building for production...
transforming...
✓ 3 modules transformed.
x Build failed in 167ms
error during build:
src/w.js (1:28): Expression expected
file: /app/src/w.js:1:28

1: import "./nope.js"; let x = ;
                               ^

    at getRollupError (file:///app/node_modules/rollup/dist/es/shared/parseAst.js:355:41)
    at ParseError.initialise (file:///app/node_modules/rollup/dist/es/shared/node-entry.js:16538:28)
    at convertNode (file:///app/node_modules/rollup/dist/es/shared/node-entry.js:18011:10)
    at convertProgram (file:///app/node_modules/rollup/dist/es/shared/node-entry.js:17247:12)
    at Module.setSource (file:///app/node_modules/rollup/dist/es/shared/node-entry.js:19073:24)
    at async ModuleLoader.addModuleSource (file:///app/node_modules/rollup/dist/es/shared/node-entry.js:23474:
"""

WEBPACK = r"""
asset main.js 1.56 KiB [compared for emit] (name: main)
./src/wp.js 36 bytes [built] [code generated] [1 error]

ERROR in ./src/wp.js 1:0
Module parse failed: 'import' and 'export' may appear only with 'sourceType: module' (1:0)
File was parsed as module type 'javascript/dynamic'.
You may need an appropriate loader to handle this file type, currently no loaders are configured to process th
> 1 | import "./nope2.js"; console.log(1)
    | ^
  2 |

webpack 5.112.2 compiled with 1 error in 302 ms
"""

GO_PANIC = """
panic: runtime error: index out of range [5] with length 2

goroutine 1 [running]:
main.half(...)
	/app/main.go:6
main.main()
	/app/main.go:10 +0x1d
exit status 2
"""

GO_BUILD = """
# example.com/app
./main.go:6:2: undefined: missing
./main.go:9:12: cannot use "a" (untyped string constant) as int value in assignment
"""

GO_TEST = """
=== RUN   TestHalf
    half_test.go:7: half(4) = 3, want 2
--- FAIL: TestHalf (0.00s)
=== RUN   TestDouble
--- FAIL: TestDouble (0.00s)
    double_test.go:9: wrong
FAIL
FAIL	example.com/app	0.002s
ok  	example.com/app/sub	0.001s
"""

VITE_DEV = """
8:01:12 AM [vite] Internal server error: Failed to resolve import "./nope.js" from "src/w.js". Does the file exist?
  Plugin: vite:import-analysis
  File: /app/src/w.js:1:7
  1  |  import "./nope.js";
     |          ^
      at TransformPluginContext._formatError (file:///app/node_modules/vite/dist/node/chunks/dep.js:1:1)
8:01:15 AM [vite] hmr update /src/a.js
"""

KOTLIN = "e: file:///app/src/Main.kt:3:5 Unresolved reference: missing\n"
MAVEN = "[ERROR] /app/src/main/java/App.java:[12,9] cannot find symbol\n  symbol:   method h()\n"
GCC = "main.c:4:5: error: expected ';' before 'return'\n    4 |     return 0\n      |     ^~~~~~\n"
SHELL = "sh: 1: nothere: not found\n"
