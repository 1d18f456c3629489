// What axe is asked of a page that is open: what somebody cannot read, reach or understand. Contrast, two thirds of its
// work, is asked once of what looks alike, and what size and theme cannot change is asked again only where they show or
// hide something that no page before did.
(() => {
  const kinds = new Map();
  const kind = (...parts) => {
    const key = parts.join("|");
    if (!kinds.has(key)) kinds.set(key, kinds.size);
    return kinds.get(key);
  };

  const texts = (one) => [...one.childNodes].filter((child) => child.nodeType === Node.TEXT_NODE).map((child) => child.data).join("");
  const isDisabled = (one) => one.matches(":disabled, [aria-disabled=true]") || Boolean(one.control?.disabled);
  const meet = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;

  // How text of an element looks: by all that is around it, whether it can be read at all, and what lies above or below.
  const looks = () => {
    const all = [document.body, ...document.body.querySelectorAll("*")];
    const styles = new Map(all.map((one) => [one, getComputedStyle(one)]));
    const own = new Map();
    for (const one of all) {
      const style = styles.get(one);
      own.set(one, kind(
        own.get(one.parentElement), one.tagName, one.getAttribute("class"), style.color, style.backgroundColor,
        style.backgroundImage, style.opacity, style.fontSize, style.fontWeight, style.textShadow, style.position,
        style.clipPath, style.overflow, one.checkVisibility({ visibilityProperty: true }), isDisabled(one),
        (texts(one).match(/[\p{L}\p{N}]/gu) ?? []).length > 1,
      ));
    }
    const placed = all.filter((one) => styles.get(one).position !== "static").map((one) => [one, one.getBoundingClientRect()]);
    return all.map((one) => {
      const rect = one.getBoundingClientRect();
      const others = placed.filter(([other, at]) => meet(rect, at) && !other.contains(one) && !one.contains(other));
      return [one, kind("at", own.get(one), rect.width > 1, ...new Set(others.map(([other]) => own.get(other)).sort()))];
    });
  };

  const marked = async (work) => {
    const seen = new Set(), alike = [];
    for (const [one, look] of looks()) {
      if (seen.has(look) && !one.matches("input, select, textarea")) alike.push(one);
      seen.add(look);
    }
    alike.forEach((one) => one.setAttribute("data-alike", ""));
    try {
      return await work();
    } finally {
      alike.forEach((one) => one.removeAttribute("data-alike"));
    }
  };

  axe.configure({ rules: [
    { id: "color-contrast", selector: "*:not([data-alike])" },
    { id: "link-in-text-block", selector: "a[href]:not([data-alike])" },
  ] });

  const shown = () => [...document.body.querySelectorAll("*")].filter((one) => one.checkVisibility({ visibilityProperty: true }));
  const place = (one) => !one || one === document.body ? "" : `${place(one.parentElement)} ${one.tagName}.${one.getAttribute("class") ?? ""}`;
  let before = null;

  window.judged = {
    // Violations of the rules that `options` name.
    run: (options) => marked(() => axe.run(options).then((found) => found.violations)),
    // What is shown now and was not when this was asked before, or the other way round: each kind by its place.
    changes: () => {
      const now = new Set(shown());
      const found = before ? [
        ...[...now].filter((one) => !before.has(one)).map((one) => `+${place(one)}`),
        ...[...before].filter((one) => !now.has(one)).map((one) => `-${place(one)}`),
      ] : [];
      before = now;
      return [...new Set(found)];
    },
  };
})();
