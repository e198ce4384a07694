/** Bytes a second over the last seconds. */
export class Speed {
  private readonly points: [time: number, bytes: number][] = [];

  at(bytes: number, time = performance.now()): number {
    this.points.push([time, bytes]);
    while (this.points.length > 2 && time - this.points[0]![0] > 5000) this.points.shift();
    const [start, before] = this.points[0]!;
    return time > start ? ((bytes - before) / (time - start)) * 1000 : 0;
  }
}
