"use strict";
// The figures of a reader and of a model, as reader_figures.py has them; those of counts come with the data.

const Z_975 = 1.959963984540054;
const BESIDE = 1e-9; // both equations of an interval hold for the areas 0 and 1 themselves

/** The area under the empirical ROC curve with its 95 % interval (Newcombe 2006, method 5): [value, low, high]. */
function rocArea(isSignal, scores) {
  const rows = wins(isSignal, scores);
  const area = mean(rows.map(mean));
  const others = (rows.length + rows[0].length) / 2 - 1;
  const deviation = (x) => {
    const spread = 1 + others * ((1 - x) / (2 - x) + x / (1 + x));
    return Z_975 * Math.sqrt((x * (1 - x) * spread) / (rows.length * rows[0].length));
  };
  const low = crossing((x) => x + deviation(x) - area, 0, Math.max(area - BESIDE, 0));
  const high = crossing((x) => x - deviation(x) - area, Math.min(area + BESIDE, 1), 1);
  return [area, low, high];
}

/** The area of one minus that of another over the same images, paired (DeLong et al. 1988); null: no doubt is known. */
function areaDifference(isSignal, ours, theirs) {
  const a = wins(isSignal, ours);
  const b = wins(isSignal, theirs);
  const gained = a.map((row, s) => row.map((win, n) => win - b[s][n]));
  const ofSignals = gained.map(mean);
  const ofNoises = gained[0].map((_, n) => mean(gained.map((row) => row[n])));
  if (Math.min(ofSignals.length, ofNoises.length) < 2) return null;
  const variance = varianceOf(ofSignals) / ofSignals.length + varianceOf(ofNoises) / ofNoises.length;
  if (variance === 0) return null;
  const value = mean(ofSignals);
  const half = Z_975 * Math.sqrt(variance);
  return [value, Math.max(value - half, -1), Math.min(value + half, 1)];
}

/** Of each signal (row) over each noise (column): 1, or 1/2 where both have the same score. */
function wins(isSignal, scores) {
  const signals = scores.filter((_, n) => isSignal[n]);
  const noises = scores.filter((_, n) => !isSignal[n]);
  return signals.map((s) => noises.map((n) => (s > n ? 1 : s === n ? 0.5 : 0)));
}

/** The points of an ROC curve, [false alarms, hits] as shares, from none called to all. */
function rocPoints(isSignal, scores) {
  const cuts = [...new Set(scores)].sort((a, b) => b - a);
  const share = (kind, cut) => {
    const all = scores.filter((_, n) => isSignal[n] === kind);
    return all.filter((score) => score >= cut).length / all.length;
  };
  return [[0, 0], ...cuts.map((cut) => [share(false, cut), share(true, cut)])];
}

function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function varianceOf(values) {
  const middle = mean(values);
  return values.reduce((sum, value) => sum + (value - middle) ** 2, 0) / (values.length - 1);
}

/** Where a rising function is 0, between two ends; an end that it does not pass. */
function crossing(f, low, high) {
  if (f(low) >= 0) return low;
  if (f(high) <= 0) return high;
  for (let step = 0; step < 60; step++) {
    const middle = (low + high) / 2;
    if (f(middle) < 0) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}
