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

/** Which share of the rows has p >= cut / 100, for each cut from 0 to 100. */
function sharesAbove(scores, rows) {
  const tally = new Uint32Array(101);
  for (const row of rows) tally[Math.floor(scores[row] / 600)] += 1;
  return Array.from(tally, (_, cut) => share(d3.sum(tally.subarray(cut)), rows.length));
}

/** A share; NaN where it is undefined. */
function share(part, whole) {
  return whole ? part / whole : NaN;
}

/** 95 % interval of a share of n (Wilson 1927); n may be an effective number. */
function wilson(value, n) {
  const z2 = 1.959964 ** 2;
  const middle = (value + z2 / (2 * n)) / (1 + z2 / n);
  const half = Math.sqrt(z2 * (value * (1 - value) / n + z2 / (4 * n * n))) / (1 + z2 / n);
  return [Math.max(0, middle - half), Math.min(1, middle + half)];
}

/** The share of the rows that are hits, as [value, low, high]; NaN without rows. Images of one patient are alike:
 * Wilson's interval by the effective number of rows (variance of a ratio over clusters: Rao & Scott 1992). */
function clusteredShare(rows, isHit, groups) {
  const patients = d3.rollup(rows, (of) => ({ rows: of.length, hits: of.filter(isHit).length }), (row) => groups[row]);
  const value = share(d3.sum(patients.values(), ({ hits }) => hits), rows.length);
  const squares = d3.sum(patients.values(), (of) => (of.hits - value * of.rows) ** 2);
  const variance = patients.size / (patients.size - 1) * squares / rows.length ** 2;
  const effective = variance > 0 ? Math.max(1, Math.min(rows.length, value * (1 - value) / variance)) : patients.size;
  return [value, ...wilson(value, effective)];
}

/** The rows from the highest score to the lowest, whether each is positive, and whether the next one is equal. */
function ranked(scores, truth, rows) {
  const order = Uint32Array.from(rows).sort((a, b) => scores[b] - scores[a]);
  const isPositive = order.map((row) => truth[row]);
  const isTied = order.map((row, place) => Number(scores[row] === scores[order[place + 1]]));
  return { order, isPositive, isTied };
}

/** Area under the ROC curve of rows that count with weights; ties count half. NaN where a class is missing. */
function weightedAuc({ order, isPositive, isTied }, weights) {
  let [positives, negatives, up, along, area] = [0, 0, 0, 0, 0];
  for (let place = 0; place < order.length; place += 1) {
    if (isPositive[place]) up += weights[order[place]];
    else along += weights[order[place]];
    if (isTied[place]) continue;
    area += along * (positives + up / 2);
    positives += up;
    negatives += along;
    [up, along] = [0, 0];
  }
  return share(area, positives * negatives);
}

/** The points of the ROC curve: {x: false positive rate, y: sensitivity, cut: the probability}. */
function rocCurve(scores, truth, rows) {
  const { order, isPositive, isTied } = ranked(scores, truth, rows);
  const positives = d3.sum(isPositive);
  const points = [{ x: 0, y: 0, cut: 1 }];
  let found = 0;
  order.forEach((row, place) => {
    found += isPositive[place];
    const alarms = place + 1 - found;
    const point = { x: share(alarms, order.length - positives), y: share(found, positives), cut: scores[row] / PARTS };
    if (!isTied[place]) points.push(point);
  });
  return withoutStraights(points);
}

/** The same line with fewer points: only its corners. */
function withoutStraights(points) {
  const isStraight = (key, n) => points[n - 1][key] === points[n][key] && points[n][key] === points[n + 1][key];
  const isEnd = (n) => n === 0 || n === points.length - 1;
  return points.filter((_, n) => isEnd(n) || !(isStraight("x", n) || isStraight("y", n)));
}

/** Difference of the mean AUC of B and A over classes by a paired bootstrap over patients; the same for the same data.
 * `classes`: [{a, b: scores, truth, rows}]. Gives {value, low, high, pFalse}; null where a class is missing. */
function pairedDifference(classes, groups) {
  const ranks = classes.map(({ a, b, truth, rows }) => [a, b].map((of) => ranked(of, truth, rows)));
  const difference = (weights) => d3.mean(ranks, ([a, b]) => weightedAuc(b, weights) - weightedAuc(a, weights));
  const value = difference(new Float64Array(groups.length).fill(1));
  if (value === undefined) return null;
  const draws = [];
  for (const weights of patientWeights(classes, groups)) {
    const drawn = difference(weights);
    if (drawn !== undefined) draws.push(drawn);
  }
  const [low, high] = [0.025, 0.975].map((part) => d3.quantile(draws, part));
  return { value, low, high, pFalse: falseByDraws(value, draws) };
}

/** The probability that a claim is false: the share of replicates of the other sign, never 0; those of 0 count half. */
function falseByDraws(value, draws) {
  const others = d3.sum(draws, (drawn) => (drawn === 0 ? 0.5 : Number(drawn > 0 !== value >= 0)));
  return (others + 0.5) / (draws.length + 1);
}

/** How often the patient of each row is drawn, once for each replicate. */
function* patientWeights(classes, groups) {
  const drawn = new Set(classes.flatMap(({ rows }) => rows.map((row) => groups[row])));
  const numbers = new Map(Array.from(drawn, (group, number) => [group, number]));
  const patients = Int32Array.from(groups, (group) => numbers.get(group) ?? numbers.size); // the last: of other rows
  const draw = d3.randomInt.source(d3.randomLcg(0.5))(numbers.size);
  const times = new Float64Array(numbers.size + 1);
  const weights = new Float64Array(groups.length);
  for (let replicate = 0; replicate < REPLICATES; replicate += 1) {
    times.fill(0);
    for (let n = 0; n < numbers.size; n += 1) times[draw()] += 1;
    for (let row = 0; row < weights.length; row += 1) weights[row] = times[patients[row]];
    yield weights;
  }
}

/** What follows from sensitivity and specificity at a prevalence; NaN where it is undefined. */
function predictiveValues(sensitivity, specificity, prevalence) {
  const [found, missed] = [sensitivity * prevalence, (1 - sensitivity) * prevalence];
  const [cleared, alarms] = [specificity * (1 - prevalence), (1 - specificity) * (1 - prevalence)];
  return {
    people: { found, missed, alarms, cleared },
    ppv: share(found, found + alarms),
    npv: share(cleared, cleared + missed),
    lr_positive: share(sensitivity, 1 - specificity),
    lr_negative: share(1 - sensitivity, specificity),
  };
}

/** Net benefit of acting on a positive answer where p >= cut / 100 (Vickers & Elkin 2006). */
function netBenefit(found, alarms, cut) {
  return found - alarms * cut / (100 - cut);
}
