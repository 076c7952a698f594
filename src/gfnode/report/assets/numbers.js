// Numbers of the player: packed coordinates, where structures are placed, times in words.
const gfnode = (function () {
  "use strict";

  function bytes(text) {
    return Uint8Array.from(atob(text), (each) => each.charCodeAt(0)).buffer;
  }

  function positions(packed, resolution) {
    const Kind = packed.type === "int16" ? Int16Array : Int32Array;
    return Float64Array.from(new Kind(bytes(packed.data)), (each) => each * resolution);
  }

  // Unpack the examples of every run.
  function unpack(runs) {
    for (const run of runs) {
      for (const each of run.examples) {
        each.x = {
          true: positions(each.true, run.resolution),
          predicted: positions(each.predicted, run.resolution),
        };
        each.turn = new Float32Array(bytes(each.rotations));
      }
    }
  }

  function centre({ score, elements }, x, frame) {
    const sum = [0, 0, 0];
    for (const atom of score) {
      for (let k = 0; k < 3; k++) sum[k] += x[3 * (frame * elements.length + atom) + k];
    }
    return sum.map((each) => each / score.length);
  }

  function product(a, b) {
    return Array.from({ length: 9 }, (_, n) => {
      const [i, j] = [3 * Math.floor(n / 3), n % 3];
      return a[i] * b[j] + a[i + 1] * b[3 + j] + a[i + 2] * b[6 + j];
    });
  }

  // Both structures of a frame about the centre of the true one, seen from the example's side; the
  // prediction turned onto the true structure where asked for.
  function placed(run, example, frame, superposed) {
    const found = {};
    const atoms = run.elements.length;
    const middle = centre(run, example.x.true, frame);
    for (const kind of ["true", "predicted"]) {
      const x = example.x[kind];
      const fit = superposed && kind === "predicted";
      const from = fit ? centre(run, x, frame) : middle;
      const own = example.turn.subarray(9 * frame, 9 * frame + 9);
      const turn = fit ? product(example.side, own) : example.side;
      const out = new Float64Array(3 * atoms);
      for (let atom = 0; atom < atoms; atom++) {
        for (let i = 0; i < 3; i++) {
          for (let k = 0; k < 3; k++) {
            out[3 * atom + i] += turn[3 * i + k] * (x[3 * (frame * atoms + atom) + k] - from[k]);
          }
        }
      }
      found[kind] = out;
    }
    return found;
  }

  function inUnits(fs) {
    const units = [["ms", 1e12], ["µs", 1e9], ["ns", 1e6], ["ps", 1e3], ["fs", 1]];
    const [unit, size] = units.find((each) => Math.abs(fs) >= each[1]) || units[4];
    return `${Number((fs / size).toPrecision(4))} ${unit}`;
  }

  const angstrom = (value) => value === null ? "unbounded" : `${value.toFixed(value < 1 ? 3 : 2)} Å`;

  return { angstrom, inUnits, placed, unpack };
})();
