;; Answers with its input.
(module
  (memory (export "memory") 1)
  (func (export "alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "execute") (param $pointer i32) (result i32) (local.get $pointer)))
