// Times, numbers and addresses in words.

let domain = "";

// The first domain of the server, which is left out of addresses.
export const setDomain = name => { domain = name; };

export const shortAddress = address => address.endsWith(`@${domain}`) ? address.slice(0, -domain.length - 1) : address;

export const duration = seconds => {
  const [d, h, m, s] = [Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60, Math.floor(seconds % 60)];
  return d ? `${d} d ${h} h` : h ? `${h} h ${m} min` : m >= 10 ? `${m} min` : m ? `${m} min ${s} s` : `${s} s`;
};

export const coarseDuration = seconds => seconds >= 3600 ? duration(seconds) : seconds >= 60 ? `${Math.floor(seconds / 60)} min` : "under 1 min";

export const counted = (count, one, many) => `${count.toLocaleString()} ${count === 1 ? one : many}`;

export const phones = count => counted(count, "phone", "phones");

// The time of day, with the date if that is not today.
export const clock = moment => {
  const date = new Date(moment), today = date.toDateString() === new Date().toDateString();
  return date.toLocaleString([], { timeStyle: "short", hour12: false, ...(today ? {} : { dateStyle: "short" }) });
};
