//! Fused element-wise programs without the engine, which Miri and sanitizers can run. The expected values are
//! computed by hand.

use chiasm_graph::fuse::Program;
use chiasm_runtime::run_program;

/// Instructions: subtract, multiply, and the choice where a condition is not 0.
const SUB: i64 = 1;
const MUL: i64 = 2;
const WHERE: i64 = 17;

/// How inputs are broadcast.
const FULL: i64 = 0;
const TAIL: i64 = 1;
const COLUMN: i64 = 2;
const SCALAR: i64 = 3;

/// How outputs are summed.
const WHOLE: i64 = 0;
const ROWS: i64 = 1;
const COLUMNS: i64 = 2;

#[test]
fn every_broadcast_and_sum_reads_and_writes_its_own_elements() {
    // The value 6 is (x - tail) * column, and the value 7 a choice between the scalar and the constant.
    let inputs = [FULL, TAIL, COLUMN, SCALAR];
    let instructions = [SUB, 0, 1, 0, MUL, 5, 2, 0, WHERE, 6, 3, 4];
    let outputs = [6, WHOLE, 0, 6, ROWS, 1, 6, COLUMNS, 0, 7, WHOLE, 0];
    let program = Program::read(&inputs, &[9.0], &instructions, &outputs).unwrap();
    let x: Vec<f32> = (0..6).map(|i| i as f32).collect();
    let results = run_program(&program, &[2, 3], &[&x, &[0.0, 1.0, 1.0], &[2.0, 10.0], &[5.0]]).unwrap();
    assert_eq!(results[0], [0.0, 0.0, 2.0, 30.0, 30.0, 40.0]);
    assert_eq!(results[1], [2.0, 100.0]);
    assert_eq!(results[2], [30.0, 30.0, 42.0]);
    assert_eq!(results[3], [9.0, 9.0, 5.0, 5.0, 5.0, 5.0]);
}

#[test]
fn rows_longer_than_a_block_and_many_pieces_are_summed_whole() {
    let program = Program::read(&[FULL], &[], &[MUL, 0, 0, 0], &[1, ROWS, 0, 1, COLUMNS, 0]).unwrap();
    // Miri is slow; other runs are split into pieces.
    for (rows, columns) in [(3, 300), if cfg!(miri) { (2, 257) } else { (150, 300) }] {
        let x = vec![2.0; rows * columns];
        let results = run_program(&program, &[rows as i64, columns as i64], &[&x]).unwrap();
        assert_eq!(results[0], vec![4.0 * columns as f32; rows]);
        assert_eq!(results[1], vec![4.0 * rows as f32; columns]);
    }
}

#[test]
fn no_elements_and_wrong_lengths() {
    let program = Program::read(&[FULL, COLUMN], &[], &[MUL, 0, 1, 0], &[2, ROWS, 0, 2, COLUMNS, 0]).unwrap();
    let results = run_program(&program, &[2, 0], &[&[], &[1.0, 2.0]]).unwrap();
    assert_eq!(results, [vec![0.0; 2], vec![]]);
    let results = run_program(&program, &[0, 2], &[&[], &[]]).unwrap();
    assert_eq!(results, [vec![], vec![0.0; 2]]);
    let refused = run_program(&program, &[2, 2], &[&[1.0; 4], &[1.0; 3]]).unwrap_err();
    assert!(refused.contains("input 1 has 3 elements"), "{refused}");
    assert!(run_program(&program, &[2, 2], &[&[1.0; 4]]).is_err());
    assert!(run_program(&program, &[-1, 2], &[&[], &[]]).is_err());
}
