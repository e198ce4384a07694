/** What the components of the page have in common: no shadow, and they render again when what they use has changed. */
import { LitElement } from 'lit';
import { subscribe, type State } from '../app/state';

export abstract class View extends LitElement {
  /** The parts of the state that it shows. */
  static uses: readonly (keyof State)[] = [];

  private unsubscribe: (() => void) | undefined;

  protected override createRenderRoot(): HTMLElement {
    return this;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.unsubscribe = subscribe((changed) => {
      if (changed.has('locale') || this.affected(changed)) this.requestUpdate();
    });
  }

  /** Whether it has to render again. */
  protected affected(changed: ReadonlySet<keyof State>): boolean {
    return (this.constructor as typeof View).uses.some((key) => changed.has(key));
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.unsubscribe?.();
  }
}
