;; Answers with its input.
(component
  (core module $program
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
    ;; A result: ok, and where the text is.
    (func (export "run") (param $pointer i32) (param $length i32) (result i32)
      (i32.store (i32.const 16) (i32.const 0))
      (i32.store (i32.const 20) (local.get $pointer))
      (i32.store (i32.const 24) (local.get $length))
      (i32.const 16)))
  (core instance $program (instantiate $program))
  (func (export "run") (param "input-json" string) (result (result string (error string)))
    (canon lift (core func $program "run")
      (memory (core memory $program "memory")) (realloc (core func $program "realloc")))))
