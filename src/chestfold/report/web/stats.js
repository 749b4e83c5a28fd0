// Counts, curves and intervals. A probability is a whole number of 60,000ths: k / 100 is exactly 600 k.
const PARTS = 60000;
const MISSING = 65535; // instead of a probability: the run has not predicted this image
const UNKNOWN = 255; // instead of a label
const REPLICATES = 500; // of the bootstrap

/** The numbers in a base64 text. */
function decode(text, Type) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  return new Type(bytes.buffer);
}

/** How many of the rows are found, missed, false alarms and cleared where p >= cut / 100 is called positive. */
function countAt(cut, scores, truth, rows) {
  const counts = { found: 0, missed: 0, alarms: 0, cleared: 0 };
  for (const row of rows) {
    const called = scores[row] >= cut * 600;
    if (truth[row] === 1) counts[called ? "found" : "missed"] += 1;
    else counts[called ? "alarms" : "cleared"] += 1;
  }
  return counts;
}

/** A share; NaN where it is undefined. */
function share(part, whole) {
  return whole ? part / whole : NaN;
}

/** 95 % interval of a share of n (Wilson 1927); n may be an effective number. */
function wilson(value, n) {
  const z2 = 1.959964 ** 2;
  const middle = (value + z2 / (2 * n)) / (1 + z2 / n);
  const half = (Math.sqrt(z2 * (value * (1 - value) / n + z2 / (4 * n * n)))) / (1 + z2 / n);
  return [Math.max(0, middle - half), Math.min(1, middle + half)];
}

/** The share of the rows that are hits, as [value, low, high]: Wilson's interval by the effective number of rows,
 * since images of one patient are alike (variance of a ratio over clusters: Rao & Scott 1992). */
function clusteredShare(rows, hit, groups) {
  const patients = new Map();
  let hits = 0;
  for (const row of rows) {
    const patient = patients.get(groups[row]) ?? { rows: 0, hits: 0 };
    patient.rows += 1;
    if (hit(row)) patient.hits += 1;
    patients.set(groups[row], patient);
    hits += hit(row) ? 1 : 0;
  }
  const value = share(hits, rows.length);
  if (!rows.length) return [NaN, NaN, NaN];
  return [value, ...wilson(value, effectiveNumber([...patients.values()], value, rows.length))];
}

/** Of how many independent rows the share would vary as much. */
function effectiveNumber(patients, value, rows) {
  const count = patients.length;
  const squares = d3.sum(patients, (patient) => (patient.hits - value * patient.rows) ** 2);
  const variance = count / (count - 1) * squares / rows ** 2;
  if (!(variance > 0)) return count;
  return Math.max(1, Math.min(rows, value * (1 - value) / variance));
}

/** The rows from the highest score to the lowest. */
function ranked(scores, rows) {
  return Uint32Array.from(rows).sort((a, b) => scores[b] - scores[a]);
}

/** Area under the ROC curve of ranked rows that count with weights; ties count half. NaN where a class is missing. */
function weightedAuc(order, scores, truth, weights) {
  let positives = 0;
  let negatives = 0;
  let area = 0;
  for (let start = 0, end = 0; start < order.length; start = end) {
    let up = 0;
    let along = 0;
    for (end = start; end < order.length && scores[order[end]] === scores[order[start]]; end += 1) {
      if (truth[order[end]] === 1) up += weights[order[end]];
      else along += weights[order[end]];
    }
    area += along * (positives + up / 2);
    positives += up;
    negatives += along;
  }
  return share(area, positives * negatives);
}

/** The points of the ROC curve: {x: false positive rate, y: sensitivity, cut: the probability}. */
function rocCurve(scores, truth, rows) {
  const order = ranked(scores, rows);
  const positives = order.filter((row) => truth[row] === 1).length;
  const points = [{ x: 0, y: 0, cut: 1 }];
  let found = 0;
  order.forEach((row, place) => {
    if (truth[row] === 1) found += 1;
    if (place + 1 < order.length && scores[order[place + 1]] === scores[row]) return;
    const alarms = place + 1 - found;
    points.push({ x: share(alarms, order.length - positives), y: share(found, positives), cut: scores[row] / PARTS });
  });
  return withoutStraights(points);
}

/** The same line with fewer points: only its corners. */
function withoutStraights(points) {
  return points.filter((point, n) => {
    const before = points[n - 1];
    const after = points[n + 1];
    if (!before || !after) return true;
    return !(before.x === point.x && point.x === after.x) && !(before.y === point.y && point.y === after.y);
  });
}

/** Difference of the mean AUC of B and A over classes by a paired bootstrap over patients; the same for the same data.
 * `classes`: [{a, b: scores, truth, rows}]. Gives {value, low, high, pFalse}; null where a class is missing. */
function pairedDifference(classes, groups) {
  const ranks = classes.map(({ a, b, rows }) => [ranked(a, rows), ranked(b, rows)]);
  const difference = (weights) => d3.mean(classes, ({ a, b, truth }, n) =>
    weightedAuc(ranks[n][1], b, truth, weights) - weightedAuc(ranks[n][0], a, truth, weights));
  const value = difference(new Float64Array(groups.length).fill(1));
  if (value === undefined) return null;
  const draws = [];
  for (const weights of patientWeights(classes, groups)) {
    const drawn = difference(weights);
    if (drawn !== undefined) draws.push(drawn);
  }
  const against = draws.filter((drawn) => (value > 0 ? drawn <= 0 : drawn >= 0)).length;
  return { value, low: d3.quantile(draws, 0.025), high: d3.quantile(draws, 0.975), pFalse: against / draws.length };
}

/** How often the patient of each row is drawn, once for each replicate. */
function* patientWeights(classes, groups) {
  const numbers = new Map();
  for (const { rows } of classes) {
    for (const row of rows) {
      if (!numbers.has(groups[row])) numbers.set(groups[row], numbers.size);
    }
  }
  const patients = Int32Array.from(groups, (group) => numbers.get(group) ?? -1);
  const draw = d3.randomInt.source(d3.randomLcg(0.5))(numbers.size);
  const times = new Float64Array(numbers.size);
  for (let replicate = 0; replicate < REPLICATES; replicate += 1) {
    times.fill(0);
    for (let n = 0; n < times.length; n += 1) times[draw()] += 1;
    yield Float64Array.from(patients, (patient) => times[patient] ?? 0);
  }
}

/** What follows from sensitivity and specificity at a prevalence; NaN where it is undefined. */
function predictiveValues(sensitivity, specificity, prevalence) {
  const found = sensitivity * prevalence;
  const missed = (1 - sensitivity) * prevalence;
  const cleared = specificity * (1 - prevalence);
  const alarms = (1 - specificity) * (1 - prevalence);
  return {
    people: { found, missed, alarms, cleared },
    ppv: share(found, found + alarms),
    npv: share(cleared, cleared + missed),
    lrPositive: share(sensitivity, 1 - specificity),
    lrNegative: share(1 - sensitivity, specificity),
  };
}

/** Net benefit of acting on a positive answer where p >= cut / 100 (Vickers & Elkin 2006). */
function netBenefit(found, alarms, cut) {
  return found - alarms * cut / (100 - cut);
}
